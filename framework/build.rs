//! Compiles what is written in C++ and tells the linker where libtorch lies.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=cpp");
    let lib = PathBuf::from(std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys is a direct dependency"));
    let root = lib.parent().expect("libtorch's lib folder has a parent");
    cc::Build::new()
        .cpp(true)
        .pic(true)
        .warnings(false)
        .include(root.join("include"))
        .include(root.join("include/torch/csrc/api/include"))
        .std("c++17")
        .flag("-fopenmp")
        .opt_level(2)
        .file("cpp/device.cpp")
        .file("cpp/facts.cpp")
        .file("cpp/foreach.cpp")
        .file("cpp/function.cpp")
        .file("cpp/graph.cpp")
        .file("cpp/kernel.cpp")
        .file("cpp/waits.cpp")
        .compile("litesnn_cpp");
    println!("cargo:rustc-link-lib=dl");
    println!("cargo:rustc-link-lib=gomp");
    println!("cargo:rustc-link-search=native={}", lib.display());
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
    println!("cargo:rustc-link-arg=-Wl,--disable-new-dtags,-rpath,{}", lib.display());
    // For the build script of a crate with plugins of its own.
    println!("cargo:libtorch={}", lib.display());
}

//! Tells the linker where libtorch lies, and keeps CUDA's part of it where there is one: no symbol
//! of it is named.

fn main() {
    let lib = std::env::var("DEP_LITESNN_FRAMEWORK_LIBTORCH").expect("litesnn-framework is a direct dependency");
    println!("cargo::rustc-link-arg=-Wl,--disable-new-dtags,-rpath,{lib}");
    if std::path::Path::new(&lib).join("libtorch_cuda.so").exists() {
        println!("cargo::rustc-link-search=native={lib}");
        println!("cargo::rustc-link-arg=-Wl,--no-as-needed,-ltorch_cuda,--as-needed");
    }
}

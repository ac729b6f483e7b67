//! Lets binaries and tests of this package find libtorch when they run.

fn main() {
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys is a direct dependency");
    println!("cargo:rustc-link-arg=-Wl,--disable-new-dtags,-rpath,{lib}");
}

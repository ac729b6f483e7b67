//! Lets this package's tests find libtorch: they are programs that load it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys is a direct dependency");
    println!("cargo::rustc-link-arg=-Wl,--disable-new-dtags,-rpath,{lib}");
}

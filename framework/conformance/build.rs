//! Tells the linker where libtorch lies: the tests of this package are programs that load it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let lib = std::env::var("DEP_LITESNN_FRAMEWORK_LIBTORCH").expect("litesnn-framework is a direct dependency");
    println!("cargo::rustc-link-arg=-Wl,--disable-new-dtags,-rpath,{lib}");
}

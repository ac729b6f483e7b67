//! Tells this package's programs where libtorch lies.

fn main() {
    let lib = std::env::var("DEP_LITESNN_FRAMEWORK_LIBTORCH").expect("litesnn-framework is a direct dependency");
    println!("cargo::rustc-link-arg=-Wl,--disable-new-dtags,-rpath,{lib}");
}

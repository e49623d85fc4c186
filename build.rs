//! Tells the linker which functions lie together (link/hot.ld; docs/performance.md).

fn main() {
    println!("cargo:rerun-if-changed=link/hot.ld");
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("musl") {
        println!("cargo:rustc-link-arg-bins=-Wl,-T,link/hot.ld");
    }
}

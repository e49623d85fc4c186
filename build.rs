//! Tells the linker which functions lie together: those of link/hot, by a script of its own language
//! (docs/performance.md). For the programs that are released, where that was measured; every other build is laid out
//! as the linker likes.

use std::fmt::Write as _;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=link/hot");
    let is = |name: &str, value: &str| std::env::var(name).as_deref() == Ok(value);
    let is_measured = is("CARGO_CFG_TARGET_ENV", "musl") && is("CARGO_CFG_TARGET_ARCH", "x86_64");
    if is_measured && is("PROFILE", "release") {
        let list = std::fs::read_to_string("link/hot").expect("link/hot");
        let directory = std::env::var_os("OUT_DIR").expect("cargo's OUT_DIR");
        let script = Path::new(&directory).join("hot.ld");
        std::fs::write(&script, linker_script(&list)).expect("the linker script");
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
}

/// The sections of each path of the list in its place, and the C library's functions, before all others. Behind
/// them is a gap, so that the rest gets a mapping of its own: the kernel maps large folios of the page cache as a
/// whole, as far as a mapping reaches. The C library's variables lie beside those with a value: behind the arena
/// they would be two more pages.
fn linker_script(list: &str) -> String {
    let mut script = String::from(
        "SECTIONS\n{\n  .text.start :\n  {\n    *crt1.o(.text)\n    *libc.a:*(.text .text.*)\n",
    );
    for path in list.lines().filter(|line| !line.starts_with('#')) {
        let pattern = pattern(path);
        writeln!(script, "    *(.text.{pattern} .text.unlikely.{pattern})").expect("a string");
    }
    script.push_str(
        "  }\n  . = ALIGN(0x1000) + 0x2000;\n}\nINSERT BEFORE .text;\n\
         SECTIONS\n{\n  .bss.libc (NOLOAD) : { *libc.a:*(.bss .bss.* COMMON) }\n}\nINSERT BEFORE .bss;\n",
    );
    script
}

/// What matches the names of a path's functions in the object file: each word behind its length (the v0 mangling,
/// `.cargo/config.toml`), with anything before, between and after, so that a function is found whatever types it was
/// made for, and a module stands for all in it. A function's name follows its module's.
fn pattern(path: &str) -> String {
    let is_module =
        |it: &str| !it.contains(|letter: char| letter.is_ascii_uppercase() || letter == '>');
    let (before, last) = path.rsplit_once("::").unwrap_or(("", path));
    let parent = before.rsplit("::").next().unwrap_or(before);
    let follows = !parent.is_empty() && is_module(parent) && is_module(last);
    let mut pattern = String::from("_R");
    for word in words(before) {
        pattern = pattern + "*" + &mangled(word);
    }
    for word in words(last) {
        pattern = pattern + if follows { "" } else { "*" } + &mangled(word);
    }
    pattern + "*"
}

fn words(path: &str) -> impl Iterator<Item = &str> {
    let is_between = |letter: char| !letter.is_ascii_alphanumeric() && letter != '_';
    path.split(is_between).filter(|word| !word.is_empty())
}

fn mangled(word: &str) -> String {
    let between = if word.starts_with('_') { "_" } else { "" };
    format!("{}{between}{word}", word.len())
}

//! casulo's binary: the library's [`casulo::run`] as `main`, with an allocator of its own.

#![no_main]

#[global_allocator]
static ALLOCATOR: casulo::Arena = casulo::Arena::new();

casulo::entry!(casulo::run);

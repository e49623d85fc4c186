//! `make bench`: what a start costs beside the least it can cost, and what isolation gives and costs
//! beside a plain chroot.

mod rounds;

fn main() {}

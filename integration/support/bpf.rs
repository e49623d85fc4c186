//! Looks at the kernel's device programs without the runtime: bpf(2), raw.

#![allow(
    unsafe_code,
    reason = "the question can only be asked by a system call that has no wrapper"
)]

use nix::errno::Errno;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

const BPF_PROG_GET_FD_BY_ID: i32 = 13;
const BPF_PROG_QUERY: i32 = 16;
const BPF_CGROUP_DEVICE: u64 = 6;

/// `union bpf_attr`, larger than any kernel's.
type Attr = [u64; 32];

fn bpf(command: i32, attr: &mut Attr) -> nix::Result<i64> {
    // SAFETY: the kernel reads and writes within the size that is passed; an address in it is that
    // of a list that outlives the call.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of::<Attr>())
    })
}

/// The ids of the device programs attached to a cgroup itself.
pub(crate) fn device_programs(cgroup: &Path) -> Vec<u32> {
    let directory = File::open(cgroup).unwrap();
    let mut ids = [0u32; 64];
    let mut attr: Attr = [0; 32];
    // target_fd, attach_type; query_flags, attach_flags; prog_ids; prog_cnt.
    attr[0] = directory.as_raw_fd() as u64 | BPF_CGROUP_DEVICE << 32;
    attr[2] = ids.as_mut_ptr().expose_provenance() as u64;
    attr[3] = ids.len() as u64;
    bpf(BPF_PROG_QUERY, &mut attr).unwrap();
    ids[..attr[3] as u32 as usize].to_vec()
}

/// True while the kernel has a program of this id.
pub(crate) fn is_loaded(id: u32) -> bool {
    let mut attr: Attr = [0; 32];
    attr[0] = u64::from(id);
    match bpf(BPF_PROG_GET_FD_BY_ID, &mut attr) {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(fd) => drop(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
        Err(Errno::ENOENT) => return false,
        Err(errno) => panic!("bpf: {errno}"),
    }
    true
}

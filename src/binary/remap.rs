//! The memory in which this process's own program lies. casulo is one static executable. Each of its parts lies at
//! the address of its program header, elf(5), or, in a position-independent one, at the same distance above it as
//! all parts.

use super::start;
use crate::sys::check;
use nix::errno::Errno;
use nix::sys::mman::{
    MRemapFlags, MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, mremap,
};
use std::ffi::{c_char, c_void};
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{NonNull, with_exposed_provenance, with_exposed_provenance_mut};

/// Makes this process, and every child of it, run from `file`; `/proc/self/exe` then leads there. Maps each part of
/// the program again in its place. Then `prctl(PR_SET_MM_MAP)`, prctl(2), names the new file, which the kernel
/// allows once no part of the old one is mapped. Nothing else changes for the process.
///
/// # Safety
/// `file` is this very program, opened by way of another mount.
///
/// # Errors
/// ENOEXEC for a program laid out in another way; EPERM without CAP_CHECKPOINT_RESTORE and CAP_SYS_ADMIN; EINVAL
/// from a kernel without CONFIG_CHECKPOINT_RESTORE. The process then goes on as before.
pub(super) unsafe fn run_from(file: BorrowedFd<'_>) -> nix::Result<()> {
    let (constant, written): (Vec<Part>, Vec<Part>) = parts()?.partition(Part::is_constant);
    let map = MemoryMap::of_this_process(&constant, &written, file)?;
    for part in &constant {
        part.map_again(file)?;
    }
    for part in &written {
        part.leave_the_file()?;
    }
    map.set()
}

/// Drops the pages that are never written: `madvise(MADV_DONTNEED)`, madvise(2). They are read again from the page
/// cache, one by one, when they are needed. For a process that will wait for long.
pub(crate) fn drop_clean_pages() {
    for part in parts().into_iter().flatten().filter(Part::is_constant) {
        // SAFETY: nobody ever writes them, so what comes again from the file is what was there. What fails
        // leaves the pages where they are.
        let _ = unsafe { madvise(part.memory(), part.length.get(), MmapAdvise::MADV_DONTNEED) };
    }
}

/// Returns the ranges of text and constants, which are the same in every process that runs this program. Each is
/// the address of its first byte and the one after its last. Empty if the program is laid out in another way.
pub(super) fn constant_ranges() -> Vec<[usize; 2]> {
    let constant = parts().into_iter().flatten().filter(Part::is_constant);
    let range = |it: Part| [it.begin.get(), it.begin.get() + it.length.get()];
    constant.map(range).collect()
}

/// Pages of this process that the kernel has loaded from the program's file.
#[derive(Debug)]
struct Part {
    begin: NonZeroUsize,
    length: NonZeroUsize,
    /// The offset of the pages in the file.
    offset: libc::off_t,
    access: ProtFlags,
}

fn parts() -> nix::Result<impl Iterator<Item = Part>> {
    let (headers, count) = (auxiliary(libc::AT_PHDR), auxiliary(libc::AT_PHNUM));
    if headers == 0 || auxiliary(libc::AT_PHENT) != size_of::<libc::Elf64_Phdr>() {
        return Err(Errno::ENOEXEC);
    }
    // SAFETY: the kernel has put `count` headers of this size there, for as long as the program runs.
    let all: &'static [libc::Elf64_Phdr] =
        unsafe { std::slice::from_raw_parts(with_exposed_provenance(headers), count) };
    let load = || all.iter().filter(|header| header.p_type == libc::PT_LOAD);
    // The part that begins with the file begins with its header, which the program headers follow.
    let first = load().find(|header| header.p_offset == 0);
    let first = first.and_then(|it| usize::try_from(it.p_vaddr).ok());
    let begin = headers.checked_sub(size_of::<libc::Elf64_Ehdr>());
    let bias = match (begin, first) {
        (Some(begin), Some(first)) if begin % page_size() == 0 => begin.wrapping_sub(first),
        _ => return Err(Errno::ENOEXEC),
    };
    Ok(load().filter_map(move |header| Part::of(header, bias)))
}

fn page_size() -> usize {
    auxiliary(libc::AT_PAGESZ).max(1)
}

/// getauxval(3): 0 for an entry that the kernel did not give.
fn auxiliary(kind: libc::c_ulong) -> usize {
    // SAFETY: an integer goes in and one comes out.
    usize::try_from(unsafe { libc::getauxval(kind) }).expect("a long is as wide as an address")
}

impl Part {
    /// Returns the part for `header` in a program that lies `bias` bytes above the header's address. None if no
    /// byte of the file is in it.
    fn of(header: &libc::Elf64_Phdr, bias: usize) -> Option<Part> {
        let page = page_size();
        let address = usize::try_from(header.p_vaddr).ok()?.wrapping_add(bias);
        let before = address % page;
        let size = usize::try_from(header.p_filesz).ok()?;
        let access = [
            (libc::PF_R, ProtFlags::PROT_READ),
            (libc::PF_W, ProtFlags::PROT_WRITE),
            (libc::PF_X, ProtFlags::PROT_EXEC),
        ];
        Some(Part {
            begin: NonZeroUsize::new(address - before)?,
            length: NonZeroUsize::new((before + size).next_multiple_of(page))?,
            offset: libc::off_t::try_from(header.p_offset).ok()?
                - libc::off_t::try_from(before).ok()?,
            access: access
                .into_iter()
                .filter(|(flag, _)| header.p_flags & flag != 0)
                .map(|(_, access)| access)
                .collect(),
        })
    }

    /// True for text and constants.
    fn is_constant(&self) -> bool {
        !self.access.contains(ProtFlags::PROT_WRITE)
    }

    fn memory(&self) -> NonNull<c_void> {
        let memory = with_exposed_provenance_mut(self.begin.get());
        NonNull::new(memory).unwrap_or(NonNull::dangling())
    }

    /// Maps the same pages of `file` in the place of those of the present file.
    fn map_again(&self, file: BorrowedFd<'_>) -> nix::Result<()> {
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED;
        // SAFETY: it is the same file, so every byte of the program stays what it is, also of the function
        // that runs; the kernel replaces the mapping in one step.
        unsafe {
            mmap(
                Some(self.begin),
                self.length,
                self.access,
                flags,
                file,
                self.offset,
            )
        }
        .map(drop)
    }

    /// Puts a copy in the place of pages that the program writes. The file does not have what was written to them.
    fn leave_the_file(&self) -> nix::Result<()> {
        let length = self.length.get();
        // All pages of the copy are written at once, so one call brings them, not a fault for each.
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_POPULATE;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let copy = unsafe { mmap_anonymous(None, self.length, self.access, flags)? };
        // SAFETY: both are mappings of this length; nobody writes here until they have changed places, for
        // there is one thread and it only makes a system call.
        unsafe { self.memory().copy_to_nonoverlapping(copy, length) };
        let flags = MRemapFlags::MREMAP_MAYMOVE | MRemapFlags::MREMAP_FIXED;
        // SAFETY: the copy holds what the pages hold that it replaces, and the kernel does that in one step.
        unsafe { mremap(copy, length, length, flags, Some(self.memory())) }.map(drop)
    }
}

/// Returns the range from the first byte of these parts to the last.
fn range(parts: &[Part]) -> [usize; 2] {
    let end = |part: &Part| part.begin.get() + part.length.get();
    [
        parts.iter().map(|part| part.begin.get()).min().unwrap_or(0),
        parts.iter().map(end).max().unwrap_or(0),
    ]
}

/// `struct prctl_mm_map` of linux/prctl.h: the addresses that `/proc/PID/stat`, `cmdline`, `environ` and `exe` use.
#[repr(C)]
#[derive(Debug)]
struct MemoryMap {
    code: [usize; 2],
    data: [usize; 2],
    brk: [usize; 2],
    stack: usize,
    arguments: [usize; 2],
    environment: [usize; 2],
    /// 0: the auxiliary vector stays as it is.
    auxv: usize,
    auxv_size: u32,
    exe: i32,
}

impl MemoryMap {
    /// Returns the map of this process as it is, but with another `exe`. The kernel lays a new program's stack out
    /// so: the number of arguments, their addresses, null, the addresses of the environment, null. Further up are
    /// the texts of the arguments, of the environment and of the file's name, one after the other
    /// (`create_elf_tables` and `do_execveat_common` of the kernel).
    fn of_this_process(
        code: &[Part],
        data: &[Part],
        exe: BorrowedFd<'_>,
    ) -> nix::Result<MemoryMap> {
        unsafe extern "C" {
            /// environ(7).
            static environ: *const *const c_char;
        }
        let (count, _) = start::arguments();
        // SAFETY: the C library has set it before main, and nobody changes it.
        let environment = unsafe { environ };
        // SAFETY: it is where the kernel put it, for nothing in casulo changes the environment: so these words
        // are one behind the other, on the stack for as long as the process runs.
        let words =
            unsafe { std::slice::from_raw_parts(environment.wrapping_sub(count + 2), count + 3) };
        let &[number, argument, .., variable] = words else {
            return Err(Errno::ENOEXEC);
        };
        if number.addr() != count {
            return Err(Errno::ENOEXEC);
        }
        let name = auxiliary(libc::AT_EXECFN);
        let variables = if variable.is_null() {
            name
        } else {
            variable.addr()
        };
        // SAFETY: it changes nothing by 0 bytes.
        let brk = unsafe { libc::sbrk(0) }.addr();
        Ok(MemoryMap {
            code: range(code),
            data: range(data),
            brk: [brk, brk],
            stack: words.as_ptr().addr(),
            arguments: [argument.addr(), variables],
            environment: [variables, name],
            auxv: 0,
            auxv_size: 0,
            exe: exe.as_raw_fd(),
        })
    }

    /// # Errors
    /// The kernel's errno.
    fn set(&self) -> nix::Result<()> {
        // SAFETY: `self` is a live prctl_mm_map and its own size is passed; none of its addresses is used
        // but for what /proc shows.
        let result = unsafe {
            libc::syscall(
                libc::SYS_prctl,
                libc::PR_SET_MM,
                libc::PR_SET_MM_MAP,
                std::ptr::from_ref(self),
                size_of::<MemoryMap>(),
                0,
            )
        };
        check(result).map(drop)
    }
}

//! A file system that does what resctrl does (the kernel's Documentation/filesystems/resctrl.rst), as few
//! machines have the hardware: a directory that is made has its files, and goes with them. casulo's test build
//! takes FUSE for it.

use super::fuse::opcode::{
    GETATTR, LOOKUP, MKDIR, OPEN, OPENDIR, READ, READDIR, RELEASE, RELEASEDIR, RMDIR, STATFS, WRITE,
};
use super::fuse::{Answer, Request, Server};
use super::{HostMount, OwnNamespace};
use nix::fcntl::{OFlag, open};
use nix::mount::MsFlags;
use nix::sys::stat::Mode;
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;

const FOPEN_DIRECT_IO: u32 = 1;

/// Where casulo looks for it.
pub(crate) const RESCTRL: &str = "/sys/fs/resctrl";

/// What the hardware can do.
const INFO: &[(&str, &str)] = &[
    ("info/L3/cbm_mask", "7ff\n"),
    ("info/L3/min_cbm_bits", "1\n"),
    ("info/L3/num_closids", "16\n"),
    ("info/MB/bandwidth_gran", "10\n"),
    ("info/MB/delay_linear", "1\n"),
    ("info/MB/min_bandwidth", "20\n"),
    ("info/MB/num_closids", "8\n"),
    (
        "info/L3_MON/mon_features",
        "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n",
    ),
];

/// What every group has counted, by domain.
const DOMAINS: &[(&str, &[(&str, u64)])] = &[
    (
        "mon_L3_00",
        &[
            ("llc_occupancy", 1000),
            ("mbm_total_bytes", 2000),
            ("mbm_local_bytes", 3000),
        ],
    ),
    (
        "mon_L3_01",
        &[
            ("llc_occupancy", 4000),
            ("mbm_total_bytes", 5000),
            ("mbm_local_bytes", 6000),
        ],
    ),
];

/// The file system is there for this thread and what it starts, until this value is dropped.
pub(crate) struct Resctrl {
    _server: Server,
    _directory: HostMount,
    _namespace: OwnNamespace,
}

impl Resctrl {
    /// Mounts it: over a tmpfs, as a kernel without resctrl has no directory for it.
    pub(crate) fn mount() -> Resctrl {
        let namespace = OwnNamespace::of_mounts();
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let cgroups = open("/sys/fs/cgroup", flags, Mode::empty()).unwrap();
        let directory = HostMount::tmpfs(Path::new("/sys/fs"), MsFlags::empty());
        for name in ["/sys/fs/cgroup", RESCTRL] {
            fs::create_dir(name).unwrap();
        }
        let cgroups = format!("/proc/thread-self/fd/{}", cgroups.as_raw_fd());
        // It goes with the directory.
        std::mem::forget(HostMount::bind(
            Path::new(&cgroups),
            Path::new("/sys/fs/cgroup"),
        ));
        let mut tree = Tree::new();
        Resctrl {
            _server: Server::mount(Path::new(RESCTRL), move |request| tree.answer(request)),
            _directory: directory,
            _namespace: namespace,
        }
    }
}

/// The paths in it, without a slash at the beginning; a directory has no text.
struct Tree {
    nodes: BTreeMap<String, Option<String>>,
    /// The modes of directories that were made.
    modes: BTreeMap<String, u32>,
    /// The names by their number: the kernel's, for as long as it knows them.
    numbers: Vec<String>,
}

impl Tree {
    fn new() -> Tree {
        let mut tree = Tree {
            nodes: BTreeMap::new(),
            modes: BTreeMap::new(),
            numbers: vec![String::new()],
        };
        for directory in ["info", "info/L3", "info/MB", "info/L3_MON"] {
            tree.nodes.insert(directory.to_owned(), None);
        }
        for (file, text) in INFO {
            tree.nodes
                .insert((*file).to_owned(), Some((*text).to_owned()));
        }
        tree.make_group("", true);
        tree
    }

    /// A class, or a monitoring group in one.
    fn make_group(&mut self, path: &str, is_class: bool) {
        self.nodes.insert(path.to_owned(), None);
        self.nodes.insert(below(path, "tasks"), Some(String::new()));
        let data = below(path, "mon_data");
        self.nodes.insert(data.clone(), None);
        for (domain, figures) in DOMAINS {
            let domain = below(&data, domain);
            self.nodes.insert(domain.clone(), None);
            for (file, figure) in *figures {
                // A class and each group in it have counted something else.
                let figure = figure + u64::try_from(path.len()).unwrap();
                self.nodes
                    .insert(below(&domain, file), Some(format!("{figure}\n")));
            }
        }
        if is_class {
            let all = "    MB:0=100;1=100\n    L3:0=7ff;1=7ff\n".to_owned();
            self.nodes.insert(below(path, "schemata"), Some(all));
            self.nodes.insert(below(path, "mon_groups"), None);
        }
    }

    fn answer(&mut self, request: &Request<'_>) -> Answer {
        let index = usize::try_from(request.node).unwrap() - 1;
        let Some(path) = self.numbers.get(index).cloned() else {
            return Answer::Error(libc::ESTALE);
        };
        match request.opcode {
            GETATTR => self
                .attributes(&path)
                .map_or(Answer::Error(libc::ENOENT), |it| {
                    Answer::Bytes([vec![0; 16], it].concat())
                }),
            LOOKUP => self.entry(&below(&path, &request.name(0))),
            MKDIR => {
                let new = below(&path, &request.name(8));
                let is_class = path.is_empty();
                if self.nodes.contains_key(&new) {
                    return Answer::Error(libc::EEXIST);
                }
                if !is_class && !path.ends_with("mon_groups") {
                    return Answer::Error(libc::EPERM);
                }
                self.make_group(&new, is_class);
                self.modes.insert(new.clone(), request.number(0) & 0o7777);
                self.entry(&new)
            }
            RMDIR => {
                let gone = below(&path, &request.name(0));
                let inside = format!("{gone}/");
                self.nodes
                    .retain(|path, _| *path != gone && !path.starts_with(&inside));
                Answer::Bytes(Vec::new())
            }
            OPENDIR => Answer::Bytes(vec![0; 16]),
            READDIR => self.entries(&path, request.number(8) as usize),
            OPEN => {
                let flags = FOPEN_DIRECT_IO.to_ne_bytes();
                Answer::Bytes([&[0; 8][..], &flags, &[0; 4]].concat())
            }
            READ => match self.nodes.get(&path) {
                Some(Some(text)) => {
                    let from = text.len().min(request.number(8) as usize);
                    let to = text.len().min(from + request.number(16) as usize);
                    Answer::Bytes(text.as_bytes()[from..to].to_vec())
                }
                _ => Answer::Error(libc::ENODEV),
            },
            WRITE => self.write(&path, request),
            STATFS => Answer::Bytes(vec![0; 80]),
            RELEASE | RELEASEDIR => Answer::Bytes(Vec::new()),
            _ => Answer::Error(libc::ENOSYS),
        }
    }

    fn write(&mut self, path: &str, request: &Request<'_>) -> Answer {
        let length = request.number(16);
        let text = String::from_utf8_lossy(&request.body[40..]).into_owned();
        let Some(Some(file)) = self.nodes.get_mut(path) else {
            return Answer::Error(libc::ENODEV);
        };
        match path.ends_with("schemata") {
            // A line takes the place of that of its resource.
            true => {
                for line in text.lines() {
                    let resource = line.split(':').next().unwrap_or_default().trim();
                    let others = file.lines().filter(|it| !it.trim().starts_with(resource));
                    let others: String = others.map(|it| format!("{it}\n")).collect();
                    *file = format!("{others}{line}\n");
                }
            }
            false => *file += &text,
        }
        Answer::Bytes([length.to_ne_bytes(), [0; 4]].concat())
    }

    /// `struct fuse_entry_out`, nothing of which is to be remembered.
    fn entry(&mut self, path: &str) -> Answer {
        let Some(attributes) = self.attributes(path) else {
            return Answer::Error(libc::ENOENT);
        };
        self.numbers.push(path.to_owned());
        let number = self.numbers.len() as u64;
        Answer::Bytes([&number.to_ne_bytes()[..], &[0; 32], &attributes].concat())
    }

    /// `struct fuse_dirent` of each that is in a directory, after the first `skip`.
    fn entries(&self, path: &str, skip: usize) -> Answer {
        let inside = |name: &&String| {
            let rest = match path {
                "" => Some(name.as_str()),
                path => name.strip_prefix(path).and_then(|it| it.strip_prefix('/')),
            };
            rest.is_some_and(|rest| !rest.is_empty() && !rest.contains('/'))
        };
        let mut bytes = Vec::new();
        for (index, path) in self.nodes.keys().filter(inside).enumerate().skip(skip) {
            let name = path.rsplit('/').next().unwrap();
            bytes.extend_from_slice(&1_u64.to_ne_bytes());
            bytes.extend_from_slice(&(index as u64 + 1).to_ne_bytes());
            bytes.extend_from_slice(&u32::try_from(name.len()).unwrap().to_ne_bytes());
            bytes.extend_from_slice(&0_u32.to_ne_bytes());
            bytes.extend_from_slice(name.as_bytes());
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        Answer::Bytes(bytes)
    }

    /// `struct fuse_attr`
    fn attributes(&self, path: &str) -> Option<Vec<u8>> {
        let mode: u32 = match self.nodes.get(path)? {
            None => libc::S_IFDIR | self.modes.get(path).unwrap_or(&0o755),
            Some(_) => libc::S_IFREG | 0o644,
        };
        let mut bytes = vec![0; 88];
        bytes[0] = 1; // ino
        bytes[60..64].copy_from_slice(&mode.to_ne_bytes());
        bytes[64] = 2; // nlink
        Some(bytes)
    }
}

fn below(directory: &str, name: &str) -> String {
    match directory {
        "" => name.to_owned(),
        directory => format!("{directory}/{name}"),
    }
}

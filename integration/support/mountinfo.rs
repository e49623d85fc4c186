//! Reads `/proc/PID/mountinfo`, proc_pid_mountinfo(5).

/// One line of mountinfo.
#[derive(Debug, Clone)]
pub(crate) struct Mount {
    /// Where it is mounted.
    pub(crate) target: String,
    /// Options of the mount itself.
    pub(crate) options: Vec<String>,
    /// Propagation: `shared:N`, `master:N`, `unbindable`; empty is private.
    pub(crate) propagation: Vec<String>,
    /// The file system's type.
    pub(crate) kind: String,
    /// Options of the file system.
    pub(crate) data: Vec<String>,
}

impl Mount {
    /// True if the mount itself has this option.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.iter().any(|it| it == option)
    }

    /// True if the file system has this option.
    pub(crate) fn has_data(&self, option: &str) -> bool {
        self.data.iter().any(|it| it == option)
    }
}

/// All mounts of a mountinfo text, in its order.
pub(crate) fn mounts(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Mount> {
    let words = |list: &str| list.split(',').map(str::to_owned).collect();
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(4);
    let mut right = right.split(' ');
    Some(Mount {
        target: left.next()?.into(),
        options: words(left.next()?),
        propagation: left.map(str::to_owned).collect(),
        kind: right.next()?.into(),
        data: words(right.nth(1)?),
    })
}

//! The phases of a command, as `--trace` shows them, and the processes that go through them.

/// The process of casulo that is at a step, or in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The command that was called.
    Parent,
    /// Init, the process of exec, or a hook before its execve.
    Child,
}

/// The phases with their names and sides: those of the parent, then those of the child, each in the order in which
/// a `run` goes through them.
macro_rules! phases {
    ($( $(#[doc = $doc:literal])+ $phase:ident $name:literal $side:ident; )+) => {
        /// A part of a command, as the trace shows it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Phase { $( $(#[doc = $doc])+ $phase, )+ }

        impl Phase {
            /// Every phase, at its number.
            pub(super) const ALL: &'static [Phase] = &[$(Phase::$phase),+];

            /// The phase's name in the trace.
            pub(super) fn name(self) -> &'static str {
                match self { $(Phase::$phase => $name),+ }
            }

            /// The process whose phase it is.
            pub(super) fn side(self) -> Side {
                match self { $(Phase::$phase => Side::$side),+ }
            }
        }
    };
}

phases! {
    /// Reads and checks the bundle, decides everything.
    Plan "plan" Parent;
    /// Reserves the id, writes the first record, compiles the filter.
    Record "record" Parent;
    /// Makes the cgroup, its limits and its device program.
    Cgroup "cgroup" Parent;
    /// Opens namespaces to join.
    Open "open namespaces" Parent;
    /// Makes the child, with its namespaces.
    Clone "clone" Parent;
    /// Id maps, limits, bind sources and records, which only the parent can write or reach.
    Outside "maps, sources, record" Parent;
    /// Waits for the child.
    Wait "wait for the child" Parent;
    /// Waits for the process's end.
    Running "running" Parent;
    /// Removes what the container leaves.
    CleanUp "clean up" Parent;
    /// Enters its namespaces and cuts its mounts off from the host's.
    Enter "enter namespaces" Child;
    /// Mounts, device nodes and links.
    Mounts "mounts and devices" Child;
    /// Makes the root file system its root; the terminal, the working directory, kernel parameters.
    Pivot "pivot" Child;
    /// Masked and read-only paths.
    Finish "masks" Child;
    /// Limits, user and capabilities; the program is looked up.
    Identity "identity" Child;
    /// The last steps, the filter among them.
    LastSteps "last steps" Child;
    /// execve, until the program runs.
    Execute "execve" Child;
}

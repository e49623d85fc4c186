//! What brings a cgroup file back to its text of before. Pure.

/// What must be written into `file` so that it reads as `old` again after `written` was written
/// there.
///
/// Most files hold one value, and their text is what they take. Files with a line per device take
/// one line a write, and show nothing for a device without a value: that is a value of its own.
pub(super) fn undo(file: &str, written: &str, old: &str) -> String {
    if is_per_device(file) {
        let key = key_of(written);
        let line = old.lines().map(str::trim).find(|it| key_of(it) == key);
        return match line {
            Some(line) => line.to_owned(),
            None => format!("{key} {}", unset(file, written)),
        };
    }
    match old.trim() {
        // How a list of CPUs is emptied: a write of nothing at all is no write.
        "" => "\n".to_owned(),
        text => text.to_owned(),
    }
}

/// True for a file whose text is not its state: what a read of it shows cannot be written back.
pub(super) fn is_a_command(file: &str) -> bool {
    file.ends_with(".pressure") || matches!(file, "memory.reclaim" | "memory.peak")
}

/// The files with a line per device or kind (kernel, cgroup-v2.rst, "nested keyed" and "flat
/// keyed" files).
fn is_per_device(file: &str) -> bool {
    matches!(
        file,
        "io.max" | "io.latency" | "io.weight" | "io.bfq.weight" | "rdma.max" | "misc.max"
    )
}

/// What a line is about: `8:0`, `mlx5_0`, or `default`, which a weight without a key means too.
fn key_of(line: &str) -> &str {
    match line.split_once(char::is_whitespace) {
        Some((key, _)) => key,
        None => "default",
    }
}

/// The value of a device for which the file had no line.
fn unset(file: &str, written: &str) -> String {
    match file {
        "io.weight" | "io.bfq.weight" => "default".to_owned(),
        "io.latency" => "target=0".to_owned(),
        "misc.max" => "max".to_owned(),
        // Each limit that was written; the others were and are unlimited.
        _ => {
            let names = written.split_whitespace().filter_map(|word| {
                let (name, _) = word.split_once('=')?;
                Some(format!("{name}=max"))
            });
            names.collect::<Vec<_>>().join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_text_or_the_unset_value_is_written() {
        for (file, written, old, expected) in [
            ("memory.max", "4096", "max\n", "max"),
            ("cpu.max", "50000 100000", "max 100000\n", "max 100000"),
            ("cpuset.cpus", "0-1", "\n", "\n"),
            ("cpuset.cpus", "0-1", "0,2\n", "0,2"),
            ("hugetlb.2MB.max", "0", "max\n", "max"),
            // Devices that had a line.
            (
                "io.max",
                "8:0 rbps=1",
                "8:16 rbps=5 wbps=max riops=max wiops=max\n8:0 rbps=max wbps=9 riops=max wiops=max\n",
                "8:0 rbps=max wbps=9 riops=max wiops=max",
            ),
            (
                "io.latency",
                "8:0 target=75",
                "8:0 target=50\n",
                "8:0 target=50",
            ),
            ("io.weight", "8:0 200", "default 100\n8:0 300\n", "8:0 300"),
            (
                "rdma.max",
                "mlx5_0 hca_handle=2",
                "mlx4_0 hca_handle=1 hca_object=1\nmlx5_0 hca_handle=3 hca_object=max\n",
                "mlx5_0 hca_handle=3 hca_object=max",
            ),
            ("misc.max", "res_a 4", "res_a max\nres_b 2\n", "res_a max"),
            // Devices that had none.
            ("io.max", "8:0 rbps=1 wiops=2", "", "8:0 rbps=max wiops=max"),
            // `8:0` is not the beginning of `8:00`.
            ("io.max", "8:0 rbps=1", "8:00 rbps=2\n", "8:0 rbps=max"),
            ("io.latency", "8:0 target=75", "", "8:0 target=0"),
            ("io.weight", "8:0 200", "default 100\n", "8:0 default"),
            ("io.bfq.weight", "8:0 200", "default 100\n", "8:0 default"),
            (
                "rdma.max",
                "mlx5_0 hca_object=2",
                "",
                "mlx5_0 hca_object=max",
            ),
            // A weight without a device, as the file shows it and as older kernels do.
            ("io.weight", "200", "default 100\n8:0 300\n", "default 100"),
            ("io.weight", "default 200", "default 100\n", "default 100"),
            ("io.bfq.weight", "200", "100\n", "100"),
        ] {
            assert_eq!(undo(file, written, old), expected, "{file}: {written}");
        }
    }

    #[test]
    fn files_that_are_commands_are_known() {
        for (file, expected) in [
            ("memory.reclaim", true),
            ("cpu.pressure", true),
            ("memory.max", false),
        ] {
            assert_eq!(is_a_command(file), expected, "{file}");
        }
    }
}

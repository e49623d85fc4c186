//! Kubernetes' container runtime interface: containerd's, asked as a kubelet asks it.

use super::cri_client::{
    Client, ContainerConfig, ContainerMetadata, ContainerStats, ContainerStatsResponse,
    ContainerStatus, ContainerStatusResponse, CreateContainerRequest, ExecSyncRequest,
    ExecSyncResponse, Id, ImageSpec, LinuxContainerConfig, LinuxContainerResources,
    LinuxContainerSecurityContext, LinuxPodSandboxConfig, Namespace, NamespaceOption, Nothing,
    PodSandboxConfig, PodSandboxMetadata, RunPodSandboxRequest, SandboxSecurityContext,
    StopContainerRequest, UpdateContainerResourcesRequest,
};
use super::image::{self, Image};
use super::{containerd, daemon, lines};
use crate::support::{Case, Lab, cases, wait_until};
use anyhow::Result;
use serde_json::json;
use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where containerd keeps what Kubernetes runs.
pub(super) const NAMESPACE: &str = "k8s.io";

/// The runtime handler of the documentation's lines, whose cgroups are systemd's.
const WITH_SYSTEMD: &str = "casulo";

/// The tests' own beside it.
pub(super) const WITH_CGROUPFS: &str = "casulo-cgroupfs";

/// What a kubelet makes of a request of cpu 100m and limits of cpu 250m and memory 256M.
const KUBERNETES_EXAMPLE: (i64, i64, i64, i64) = (100_000, 25_000, 102, 268_435_456);

mod smoke {
    use super::*;
    cases! {
        [Root, Program("/usr/bin/containerd"), Controller("cpu")] => smoke_test;
    }
}
pub(crate) const SMOKE: &[Case] = smoke::CASES;

cases! {
    [Root, Program("/usr/bin/containerd"), Controller("cpu")] => containers_of_a_pod_share_namespaces, pids_are_shared_where_asked,
        probes, a_probe_that_takes_too_long, stop_and_remove, failed_start;
    [Root, Program("/usr/bin/containerd"), Controller("memory")] => resources_of_a_kubelet, oom_is_the_reason;
    [Root, Program("/usr/bin/containerd"), Controller("memory"), Systemd] => resources_of_a_kubelet_with_systemd;
    [Root, Program("/usr/lib/cni/bridge"), Controller("cpu")] => pods_have_addresses;
    [Root, Program("/usr/bin/containerd"), Controller("cpu"), DebianRoot] => users_by_name;
}

/// The pods' network: a bridge, and addresses from a range on the host.
pub(super) fn write_network(directory: &Path) {
    let text = json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge", "bridge": "pods", "isGateway": true,
            "ipam": {
                "type": "host-local",
                "dataDir": directory.join("addresses"),
                "ranges": [[{"subnet": "10.200.7.0/24"}]]
            }
        }]
    });
    fs::create_dir_all(directory.join("cni")).unwrap();
    fs::write(directory.join("cni/pods.conflist"), text.to_string()).unwrap();
}

/// A pod: its sandbox runs, and its containers are removed with it.
struct Pod<'lab> {
    lab: &'lab Lab,
    client: Client,
    config: PodSandboxConfig,
    id: String,
    cgroup: PathBuf,
    containers: RefCell<Vec<String>>,
}

/// What a container of a pod is to be.
struct Container<'a> {
    command: &'a [&'a str],
    image: &'a Image,
    /// By name; empty: root.
    user: &'a str,
    /// Whose processes it sees.
    pid: Namespace,
    resources: Option<LinuxContainerResources>,
}

impl<'a> Container<'a> {
    fn of(command: &'a [&'a str]) -> Container<'a> {
        Container {
            command,
            image: &image::BUSYBOX,
            user: "",
            pid: Namespace::Container,
            resources: None,
        }
    }
}

impl<'lab> Pod<'lab> {
    /// A pod on the node's network, in cgroups of the file-system driver.
    #[track_caller]
    fn on_node_network(lab: &'lab Lab) -> Pod<'lab> {
        Pod::run(lab, WITH_CGROUPFS, Namespace::Node)
    }

    #[track_caller]
    fn run(lab: &'lab Lab, handler: &str, network: Namespace) -> Pod<'lab> {
        let client = Client::new(&containerd::daemon(lab).socket);
        let name = lab.new_id();
        let cgroup_parent = match handler {
            WITH_SYSTEMD => format!("kubepods-pod{}.slice", name.replace('-', "_")),
            _ => format!("/kubepods-pod{name}"),
        };
        // As the kubelet does.
        let cgroup = Path::new("/sys/fs/cgroup").join(cgroup_parent.trim_start_matches('/'));
        if handler != WITH_SYSTEMD {
            fs::create_dir(&cgroup).unwrap();
        }
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.clone(),
                uid: name.clone(),
                namespace: "default".into(),
            }),
            hostname: match network {
                Namespace::Node => String::new(),
                _ => "pod".into(),
            },
            log_directory: lab.directory("log").to_string_lossy().into_owned(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent,
                security_context: Some(SandboxSecurityContext {
                    namespace_options: Some(NamespaceOption {
                        network: network as i32,
                        pid: Namespace::Container as i32,
                        ipc: Namespace::Pod as i32,
                    }),
                }),
            }),
        };
        let question = RunPodSandboxRequest {
            config: Some(config.clone()),
            runtime_handler: handler.into(),
        };
        let begin = Instant::now();
        let answer: Id = client.call("RunPodSandbox", &question).unwrap();
        println!("  RunPodSandbox of {handler}: {:?}", begin.elapsed());
        Pod {
            lab,
            client,
            config,
            id: answer.id,
            cgroup,
            containers: RefCell::default(),
        }
    }

    #[track_caller]
    fn tell(&self, method: &str, question: &impl prost::Message) {
        let answer: Result<Nothing> = self.client.call(method, question);
        println!("  {method} = {answer:?}");
        answer.unwrap();
    }

    fn namespaces(&self, pid: Namespace) -> NamespaceOption {
        let of_pod = self.config.linux.clone().unwrap().security_context.unwrap();
        NamespaceOption {
            pid: pid as i32,
            ..of_pod.namespace_options.unwrap()
        }
    }

    #[track_caller]
    fn create(&self, container: Container<'_>) -> String {
        let name = self.lab.new_id();
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.clone() }),
            image: Some(ImageSpec {
                image: container.image.name.into(),
            }),
            command: container
                .command
                .iter()
                .map(|word| (*word).to_owned())
                .collect(),
            log_path: name,
            linux: Some(LinuxContainerConfig {
                resources: container.resources,
                security_context: Some(LinuxContainerSecurityContext {
                    namespace_options: Some(self.namespaces(container.pid)),
                    run_as_username: container.user.into(),
                }),
            }),
        };
        let question = CreateContainerRequest {
            pod_sandbox_id: self.id.clone(),
            config: Some(config),
            sandbox_config: Some(self.config.clone()),
        };
        let answer: Id = self.client.call("CreateContainer", &question).unwrap();
        self.containers.borrow_mut().push(answer.id.clone());
        answer.id
    }

    #[track_caller]
    fn start(&self, container: &str) {
        self.tell("StartContainer", &of(container));
    }

    /// Creates and starts a container.
    #[track_caller]
    fn running(&self, script: &str, resources: Option<LinuxContainerResources>) -> String {
        let id = self.create(Container {
            resources,
            ..Container::of(&["/bin/sh", "-c", script])
        });
        self.start(&id);
        id
    }

    fn exec(&self, container: &str, script: &str) -> Result<(i32, String)> {
        self.exec_within(container, script, 0)
    }

    fn exec_within(&self, container: &str, script: &str, seconds: i64) -> Result<(i32, String)> {
        let question = ExecSyncRequest {
            container_id: container.into(),
            cmd: ["/bin/sh", "-c", script].map(str::to_owned).into(),
            timeout: seconds,
        };
        let answer: ExecSyncResponse = self.client.call("ExecSync", &question)?;
        let text = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        Ok((answer.exit_code, text))
    }

    #[track_caller]
    fn lines_of(&self, container: &str, script: &str) -> Vec<String> {
        let (code, text) = self.exec(container, script).unwrap();
        assert_eq!(code, 0, "{script}: {text}");
        text.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn status(&self, container: &str) -> ContainerStatus {
        let answer: ContainerStatusResponse =
            self.client.call("ContainerStatus", &of(container)).unwrap();
        answer.status.unwrap()
    }

    #[track_caller]
    fn wait_exited(&self, container: &str) -> ContainerStatus {
        wait_until("the container exits", || self.status(container).state == 2);
        self.status(container)
    }

    #[track_caller]
    fn stop(&self, container: &str, seconds: i64) {
        let question = StopContainerRequest {
            container_id: container.into(),
            timeout: seconds,
        };
        self.tell("StopContainer", &question);
    }

    /// Stops and removes the pod with its containers; nothing of them may be left then.
    #[track_caller]
    fn remove(self) {
        for container in self.containers.borrow().iter() {
            self.stop(container, 0);
            self.tell("RemoveContainer", &of(container));
        }
        self.tell("StopPodSandbox", &of(&self.id));
        self.tell("RemovePodSandbox", &of(&self.id));
        let state = Path::new(containerd::STATE).join(NAMESPACE);
        for id in self.containers.borrow().iter().chain([&self.id]) {
            daemon::wait_nothing_left(id, &[&state]);
        }
        // A slice goes with its last scope; the test's own directory can only go if it is empty.
        if self.cgroup.extension().is_none() {
            fs::remove_dir(&self.cgroup).unwrap();
        }
    }
}

impl Drop for Pod<'_> {
    /// After a failed test, too, the pod goes, and its containers with it.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for method in ["StopPodSandbox", "RemovePodSandbox"] {
                let _: Result<Nothing> = self.client.call(method, &of(&self.id));
            }
        }
    }
}

fn of(id: &str) -> Id {
    Id { id: id.into() }
}

fn kubernetes_example() -> LinuxContainerResources {
    let (cpu_period, cpu_quota, cpu_shares, memory_limit_in_bytes) = KUBERNETES_EXAMPLE;
    LinuxContainerResources {
        cpu_period,
        cpu_quota,
        cpu_shares,
        memory_limit_in_bytes,
        oom_score_adj: 900,
        unified: [("memory.oom.group".to_owned(), "1".to_owned())].into(),
    }
}

const LIMIT_FILES: &str = "cd /sys/fs/cgroup; cat cpu.max cpu.weight memory.max memory.oom.group";

fn smoke_test(lab: &Lab) {
    let pod = Pod::on_node_network(lab);
    let container = pod.running("exec sleep 1000", None);
    let answer = pod.exec(&container, "echo inside; exit 3").unwrap();
    assert_eq!(answer, (3, "inside".into()));
    pod.remove();
}

fn containers_of_a_pod_share_namespaces(lab: &Lab) {
    let pod = Pod::run(lab, WITH_CGROUPFS, Namespace::Pod);
    let one = pod.running("exec sleep 1000", None);
    let other = pod.running("exec sleep 1000", None);
    let look = |kind: &str| {
        let script = format!("readlink /proc/self/ns/{kind}");
        [&one, &other].map(|container| pod.lines_of(container, &script))
    };
    for kind in ["net", "ipc", "uts"] {
        let [one, other] = look(kind);
        assert_eq!(one, other, "{kind}");
    }
    for kind in ["mnt", "pid", "cgroup"] {
        let [one, other] = look(kind);
        assert_ne!(one, other, "{kind}");
    }
    assert_eq!(pod.lines_of(&one, "hostname"), ["pod"]);
    pod.lines_of(&one, "echo shared >/dev/shm/file");
    assert_eq!(pod.lines_of(&other, "cat /dev/shm/file"), ["shared"]);
    pod.remove();
}

fn pids_are_shared_where_asked(lab: &Lab) {
    let pod = Pod::on_node_network(lab);
    let [_, other] = ["1001", "1002"].map(|seconds| {
        let id = pod.create(Container {
            pid: Namespace::Pod,
            ..Container::of(&["sleep", seconds])
        });
        pod.start(&id);
        id
    });
    let seen = pod.lines_of(
        &other,
        "tr '\\0' ' ' </proc/1/cmdline; echo; ps -o args | grep ^sleep",
    );
    assert_eq!(
        seen[0].trim(),
        "/bin/busybox sleep 100000",
        "pid 1 is the sandbox's"
    );
    assert_eq!(seen[1..], ["sleep 1001", "sleep 1002"]);
    pod.remove();
}

/// Twenty probes: each exit code arrives, and none takes longer for those before it.
fn probes(lab: &Lab) {
    let pod = Pod::on_node_network(lab);
    let container = pod.running("exec sleep 1000", None);
    let mut times: Vec<Duration> = (0..20)
        .map(|code| {
            let begin = Instant::now();
            let answer = pod.exec(&container, &format!("echo {code}; exit {code}"));
            assert_eq!(answer.unwrap(), (code, code.to_string()));
            begin.elapsed()
        })
        .collect();
    println!("  20 probes: {times:?}");
    let last = times.split_off(10);
    assert!(
        last.iter().min() < times.iter().max(),
        "each slower than the ones before"
    );
    assert_eq!(
        pod.lines_of(&container, "set -- /proc/[0-9]*; echo $#"),
        ["2"]
    );
    pod.remove();
}

fn a_probe_that_takes_too_long(lab: &Lab) {
    let pod = Pod::on_node_network(lab);
    let container = pod.running("exec sleep 1000", None);
    let error = pod.exec_within(&container, "sleep 1003", 1).unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.contains("timeout") || error.contains("deadline"),
        "{error}"
    );
    wait_until("its process is gone", || {
        pod.exec(&container, "ps -o args | grep -c '^sleep 1003'")
            .is_ok_and(|answer| answer == (1, "0".into()))
    });
    pod.remove();
}

fn stop_and_remove(lab: &Lab) {
    let pod = Pod::on_node_network(lab);
    let polite = pod.running("trap 'exit 5' TERM; while :; do sleep 0.1; done", None);
    let stubborn = pod.running("trap '' TERM; while :; do sleep 0.1; done", None);
    for container in [&polite, &stubborn] {
        wait_until("the trap is set", || {
            pod.exec(container, "kill -0 1 && ps -o args | grep -c '^sleep 0.1'")
                .is_ok_and(|answer| answer == (0, "1".into()))
        });
    }
    pod.stop(&polite, 60);
    assert_eq!(pod.status(&polite).exit_code, 5);
    pod.stop(&stubborn, 1);
    assert_eq!(pod.status(&stubborn).exit_code, 137);
    // A second stop is no error.
    pod.stop(&stubborn, 1);
    pod.remove();
}

fn users_by_name(lab: &Lab) {
    containerd::daemon(lab).import(lab, NAMESPACE, &image::DEBIAN);
    let pod = Pod::on_node_network(lab);
    let container = pod.create(Container {
        image: &image::DEBIAN,
        user: "www-data",
        ..Container::of(&["sleep", "1000"])
    });
    pod.start(&container);
    let said = pod.lines_of(&container, image::ASK_WWW_DATA);
    assert_eq!(said, image::SAID_BY_WWW_DATA);
    pod.remove();
}

fn failed_start(lab: &Lab) {
    let pod = Pod::on_node_network(lab);
    let container = pod.create(Container::of(&["no-such-program"]));
    let answer: Result<Nothing> = pod.client.call("StartContainer", &of(&container));
    let error = format!("{:#}", answer.unwrap_err());
    assert!(error.contains("no-such-program"), "{error}");
    let status = pod.status(&container);
    assert_eq!((status.state, status.exit_code), (2, 128));
    pod.remove();
}

fn resources_of_a_kubelet(lab: &Lab) {
    kubelets_resources(Pod::on_node_network(lab));
}

fn resources_of_a_kubelet_with_systemd(lab: &Lab) {
    let class = lines::block("runtimeclass.yaml");
    assert!(class.contains(&format!("handler: {WITH_SYSTEMD}\n")));
    kubelets_resources(Pod::run(lab, WITH_SYSTEMD, Namespace::Node));
}

fn kubelets_resources(pod: Pod<'_>) {
    let container = pod.running("exec sleep 1000", Some(kubernetes_example()));
    let limits = pod.lines_of(&container, LIMIT_FILES);
    // The weight is each runtime's own conversion.
    assert_eq!(limits[0], "25000 100000");
    assert_eq!(limits[2..], ["268435456", "1"]);
    assert_eq!(
        pod.lines_of(&container, "cat /proc/1/oom_score_adj"),
        ["900"]
    );
    let answer: ContainerStatsResponse =
        pod.client.call("ContainerStats", &of(&container)).unwrap();
    let stats: ContainerStats = answer.stats.unwrap();
    assert!(stats.cpu.unwrap().value.unwrap().value > 0);
    assert!(stats.memory.unwrap().value.unwrap().value > 0);
    let larger = UpdateContainerResourcesRequest {
        container_id: container.clone(),
        linux: Some(LinuxContainerResources {
            cpu_quota: 50_000,
            memory_limit_in_bytes: 536_870_912,
            ..kubernetes_example()
        }),
    };
    pod.tell("UpdateContainerResources", &larger);
    let limits = pod.lines_of(&container, LIMIT_FILES);
    assert_eq!(limits[0], "50000 100000");
    assert_eq!(limits[2], "536870912");
    pod.remove();
}

fn oom_is_the_reason(lab: &Lab) {
    let pod = Pod::on_node_network(lab);
    let small = LinuxContainerResources {
        memory_limit_in_bytes: 16_777_216,
        unified: [
            ("memory.swap.max".to_owned(), "0".to_owned()),
            ("memory.oom.group".to_owned(), "1".to_owned()),
        ]
        .into(),
        ..kubernetes_example()
    };
    let container = pod.running("head -c 100m /dev/zero | tail | cat", Some(small));
    let status = pod.wait_exited(&container);
    assert_eq!((status.exit_code, &*status.reason), (137, "OOMKilled"));
    pod.remove();
}

fn pods_have_addresses(lab: &Lab) {
    let pods = [0, 1].map(|_| Pod::run(lab, WITH_CGROUPFS, Namespace::Pod));
    let containers = pods
        .each_ref()
        .map(|pod| pod.running("exec sleep 1000", None));
    let addresses = [0, 1].map(|it| {
        let line = pods[it].lines_of(&containers[it], "ip -4 -o address show eth0")[0].clone();
        let words: Vec<&str> = line.split_whitespace().collect();
        words[3].split('/').next().unwrap().to_owned()
    });
    println!("  addresses: {addresses:?}");
    let script = format!("ping -c 1 -W 20 {}", addresses[1]);
    let (code, text) = pods[0].exec(&containers[0], &script).unwrap();
    assert_eq!(code, 0, "{text}");
    pods.into_iter().for_each(Pod::remove);
}

/*
 * floor: the least that a container can cost on this kernel. It makes the system calls that a
 * default container cannot do without, in the order that needs fewest of them, and nothing else:
 * it has no parser, no config, no error message worth the name, and it trusts everything.
 * Never use it to contain anything.
 *
 *   floor run    [-u] [-s FILTER] [-b DIR COUNT] ROOTFS CGROUP PROGRAM
 *   floor create [-u] [-s FILTER] [-b DIR COUNT] STATE ROOTFS CGROUP PROGRAM
 *   floor start  STATE
 *   floor delete STATE CGROUP
 *   floor exec   [-s FILTER] PIDFILE CGROUP PROGRAM
 *   floor nothing                 ends at once; also when it is called "true"
 *
 *   -u  in a user namespace: ids 0 to 65535 are 100000 and up of the host
 *   -s  loads this file, an array of struct sock_filter
 *   -b  binds the directory DIR at /b/0, /b/1, ... in the container
 *
 * STATE is a directory that `create` makes; a waiting container has a FIFO in it, its pid in `pid`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define INTO_CGROUP 0x200000000ULL /* CLONE_INTO_CGROUP; some headers lack it */
#define MUST(call) do { if ((long)(call) < 0) fail(#call); } while (0)

static void fail(const char *call)
{
	dprintf(2, "floor: %s: %s\n", call, strerror(errno));
	_exit(99);
}

/* What is asked for. */
static int in_user_namespace, binds;
static char *bind_source;
static struct sock_fprog filter;
static char **program;

static void read_filter(const char *file)
{
	struct stat about;
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	MUST(fd);
	MUST(fstat(fd, &about));
	filter.filter = malloc(about.st_size);
	MUST(read(fd, filter.filter, about.st_size));
	filter.len = about.st_size / sizeof *filter.filter;
	close(fd);
}

/* ---- the parent: cgroup, device program, clone ------------------------------------------------ */

/* Allows the devices that a container has, and no other: the shortest program that does. */
static int device_program(void)
{
	static const uint8_t minors[] = { 3, 5, 7, 8, 9 };
	struct bpf_insn code[32];
	int n = 0;
#define INSN(op, dst, src, offset, value) \
	code[n++] = (struct bpf_insn){ .code = op, .dst_reg = dst, .src_reg = src, .off = offset, .imm = value }
	INSN(BPF_LDX | BPF_W | BPF_MEM, 2, 1, 4, 0); /* major */
	INSN(BPF_LDX | BPF_W | BPF_MEM, 3, 1, 8, 0); /* minor */
	INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);
	INSN(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 8, 136); /* pts */
	INSN(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 7, 5);   /* tty, ptmx */
	INSN(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 5, 1);
	for (unsigned i = 0; i < sizeof minors; i++)
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 3, 0, 5 - i, minors[i]);
	INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	union bpf_attr load;
	memset(&load, 0, sizeof load);
	load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	load.insns = (uintptr_t)code;
	load.insn_cnt = n;
	load.license = (uintptr_t)"GPL";
	int fd = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
	MUST(fd);
	return fd;
}

static int make_cgroup(const char *path)
{
	MUST(mkdir(path, 0755));
	int directory = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	MUST(directory);
	int code = device_program();
	union bpf_attr attach;
	memset(&attach, 0, sizeof attach);
	attach.target_fd = directory;
	attach.attach_bpf_fd = code;
	attach.attach_type = BPF_CGROUP_DEVICE;
	attach.attach_flags = BPF_F_ALLOW_MULTI;
	MUST(syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach));
	close(code);
	return directory;
}

static long clone_into(int cgroup, uint64_t namespaces)
{
	struct clone_args args;
	memset(&args, 0, sizeof args);
	args.flags = namespaces | INTO_CGROUP;
	args.exit_signal = SIGCHLD;
	args.cgroup = cgroup;
	long pid = syscall(SYS_clone3, &args, sizeof args);
	MUST(pid);
	return pid;
}

static void write_map(long pid, const char *name)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%ld/%s", pid, name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	MUST(fd);
	MUST(write(fd, "0 100000 65536", 14));
	close(fd);
}

/* ---- the child: everything inside --------------------------------------------------------------- */

static void bind_device(const char *name)
{
	char host[32];
	snprintf(host, sizeof host, "/%s", name);
	close(open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0666));
	MUST(mount(host, name, NULL, MS_BIND, NULL));
}

static void make_devices(void)
{
	static const struct { const char *name; int major, minor; } nodes[] = {
		{ "dev/null", 1, 3 }, { "dev/zero", 1, 5 }, { "dev/full", 1, 7 },
		{ "dev/random", 1, 8 }, { "dev/urandom", 1, 9 }, { "dev/tty", 5, 0 },
	};
	umask(0);
	for (unsigned i = 0; i < sizeof nodes / sizeof *nodes; i++) {
		if (in_user_namespace)
			bind_device(nodes[i].name);
		else
			MUST(mknod(nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
	}
	MUST(symlink("/proc/self/fd", "dev/fd"));
	MUST(symlink("/proc/self/fd/0", "dev/stdin"));
	MUST(symlink("/proc/self/fd/1", "dev/stdout"));
	MUST(symlink("/proc/self/fd/2", "dev/stderr"));
	MUST(symlink("pts/ptmx", "dev/ptmx"));
}

static void make_mounts(void)
{
	const unsigned long safe = MS_NOSUID | MS_NOEXEC | MS_NODEV;
	MUST(mount("proc", "proc", "proc", safe, NULL));
	MUST(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
	MUST(mkdir("dev/pts", 0755));
	MUST(mkdir("dev/shm", 0755));
	MUST(mkdir("dev/mqueue", 0755));
	MUST(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
	MUST(mount("shm", "dev/shm", "tmpfs", safe, "mode=1777,size=65536k"));
	MUST(mount("mqueue", "dev/mqueue", "mqueue", safe, NULL));
	MUST(mount("sysfs", "sys", "sysfs", safe | MS_RDONLY, NULL));
	MUST(mount("cgroup2", "sys/fs/cgroup", "cgroup2", safe | MS_RDONLY | MS_RELATIME, NULL));
	for (int i = 0; i < binds; i++) {
		char target[32];
		snprintf(target, sizeof target, "b/%d", i);
		MUST(mount(bind_source, target, NULL, MS_BIND | MS_REC, NULL));
	}
}

static void mask_paths(void)
{
	static const char *const masked[] = {
		"proc/acpi", "proc/asound", "proc/kcore", "proc/keys", "proc/latency_stats", "proc/timer_list",
		"proc/timer_stats", "proc/sched_debug", "sys/firmware", "proc/scsi",
	};
	static const char *const read_only[] = { "proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger" };
	for (unsigned i = 0; i < sizeof masked / sizeof *masked; i++) {
		struct stat about;
		if (stat(masked[i], &about) < 0)
			continue;
		if (S_ISDIR(about.st_mode))
			MUST(mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, NULL));
		else
			MUST(mount("dev/null", masked[i], NULL, MS_BIND, NULL));
	}
	for (unsigned i = 0; i < sizeof read_only / sizeof *read_only; i++) {
		if (mount(read_only[i], read_only[i], NULL, MS_BIND | MS_REC, NULL) < 0)
			continue;
		MUST(mount(NULL, read_only[i], NULL,
			MS_BIND | MS_REMOUNT | MS_REC | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
	}
}

static void enter_root(const char *rootfs)
{
	MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	MUST(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL));
	MUST(chdir(rootfs));
	make_mounts();
	make_devices();
	mask_paths();
	MUST(syscall(SYS_pivot_root, ".", "."));
	MUST(umount2(".", MNT_DETACH));
	MUST(chdir("/"));
	MUST(sethostname("floor", 5));
}

/* CAP_KILL, CAP_NET_BIND_SERVICE and CAP_AUDIT_WRITE stay; all that a process is but its program. */
static void give_up(void)
{
	const uint32_t kept = 1 << CAP_KILL | 1 << CAP_NET_BIND_SERVICE | 1 << CAP_AUDIT_WRITE;
	struct rlimit files = { 1024, 1024 };
	MUST(setrlimit(RLIMIT_NOFILE, &files));
	setsid();
	for (int cap = 0; cap <= CAP_CHECKPOINT_RESTORE; cap++)
		if (!(cap < 32 && kept >> cap & 1))
			MUST(prctl(PR_CAPBSET_DROP, cap, 0, 0, 0));
	MUST(setgid(0));
	MUST(setuid(0));
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	MUST(syscall(SYS_close_range, 3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */));
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct sets[2] = { { kept, kept, 0 } };
	MUST(syscall(SYS_capset, &header, sets));
	if (filter.len)
		MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter));
}

static void become_program(void)
{
	give_up();
	execve(program[0], program, (char *[]){ "PATH=/bin", NULL });
	fail(program[0]);
}

/* ---- the commands -------------------------------------------------------------------------------- */

static int status_of(long pid)
{
	int status;
	MUST(waitpid(pid, &status, 0));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* Makes the container. The child goes on to its program once `fifo`, if there is one, is opened. */
static long make_container(const char *rootfs, const char *cgroup, int fifo, int ready)
{
	uint64_t namespaces = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWCGROUP;
	int maps_written[2];
	if (in_user_namespace) {
		namespaces |= CLONE_NEWUSER;
		MUST(pipe2(maps_written, O_CLOEXEC));
	}
	int directory = make_cgroup(cgroup);
	long pid = clone_into(directory, namespaces);
	if (pid == 0) {
		char byte;
		if (in_user_namespace) {
			MUST(read(maps_written[0], &byte, 1));
			MUST(setresgid(0, 0, 0));
			MUST(setresuid(0, 0, 0));
		}
		enter_root(rootfs);
		if (fifo >= 0) {
			char path[32];
			MUST(write(ready, "r", 1));
			close(ready);
			snprintf(path, sizeof path, "/proc/self/fd/%d", fifo);
			int opened = open(path, O_WRONLY | O_CLOEXEC); /* waits for a reader */
			MUST(opened);
			MUST(write(opened, "s", 1));
		}
		become_program();
	}
	if (in_user_namespace) {
		write_map(pid, "uid_map");
		write_map(pid, "gid_map");
		MUST(write(maps_written[1], "m", 1));
	}
	return pid;
}

static int create(const char *state, const char *rootfs, const char *cgroup)
{
	char path[4096], number[16], byte;
	int ready[2];
	MUST(mkdir(state, 0711));
	snprintf(path, sizeof path, "%s/start", state);
	MUST(mkfifo(path, 0622));
	int fifo = open(path, O_PATH | O_CLOEXEC);
	MUST(fifo);
	MUST(pipe2(ready, O_CLOEXEC));
	long pid = make_container(rootfs, cgroup, fifo, ready[1]);
	snprintf(path, sizeof path, "%s/pid", state);
	int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	MUST(file);
	MUST(write(file, number, snprintf(number, sizeof number, "%ld", pid)));
	close(ready[1]);
	return read(ready[0], &byte, 1) == 1 ? 0 : 1;
}

static int start(const char *state)
{
	char path[4096], byte;
	snprintf(path, sizeof path, "%s/start", state);
	int fifo = open(path, O_RDONLY | O_CLOEXEC);
	MUST(fifo);
	MUST(read(fifo, &byte, 1));
	MUST(unlink(path));
	return 0;
}

static int pid_in(const char *file)
{
	char number[16] = { 0 };
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	MUST(fd);
	MUST(read(fd, number, sizeof number - 1));
	close(fd);
	return atoi(number);
}

/* The container has ended; whether it was reaped does not matter. */
static int delete(const char *state, const char *cgroup)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/pid", state);
	int process = syscall(SYS_pidfd_open, pid_in(path), 0);
	struct pollfd ended = { process, POLLIN, 0 };
	if (process >= 0 && poll(&ended, 1, 0) == 0)
		fail("delete: it still runs");
	MUST(rmdir(cgroup));
	MUST(unlink(path));
	MUST(rmdir(state));
	return 0;
}

/* What a process gets that is born in the container, where it can be stopped and traced: beside the program's text
 * this alone. */
struct landing {
	int go, tell;
	char *argv[16], *env[2], words[4096];
};
enum { LANDING = 20480 };

static inline __attribute__((always_inline)) long bare(long number, long a, long b, long c)
{
	register long result __asm__("rax") = number;
	__asm__ volatile("syscall" : "+r"(result) : "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}

/* The process itself: tells that it is there, waits to be let go on, and is the program. */
static __attribute__((noinline, noreturn, optimize("no-stack-protector"))) void last(struct landing *it)
{
	char byte = 'b';
	bare(SYS_write, it->tell, (long)&byte, 1);
	if (bare(SYS_read, it->go, (long)&byte, 1) == 1) {
		bare(SYS_setsid, 0, 0, 0);
		bare(SYS_write, it->tell, (long)&byte, 1);
		bare(SYS_execve, (long)it->argv[0], (long)it->argv, (long)it->env);
	}
	for (;;)
		bare(SYS_exit_group, 127, 0, 0);
}

static struct landing *land(int go, int tell)
{
	struct landing *it = mmap(NULL, LANDING, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (it == MAP_FAILED)
		fail("mmap");
	char *to = it->words;
	it->go = go;
	it->tell = tell;
	for (int i = 0; program[i] && i < 15; i++) {
		it->argv[i] = to;
		to = stpcpy(to, program[i]) + 1;
	}
	it->env[0] = strcpy(to, "PATH=/bin");
	return it;
}

static void leave_behind(char *from, char *to)
{
	if (from < to && madvise(from, to - from, MADV_DONTFORK) && errno != ENOMEM) /* ENOMEM: there are holes */
		fail("madvise");
}

/* A process that nobody in the container sees: joins everything, gives up everything, and has the process born as its
 * sibling, whose number the kernel puts where the parent finds it. */
static void enter(int process, int *number, int go, int tell)
{
	extern char __executable_start[], etext[];
	int all = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
	setsid();
	MUST(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
	MUST(setns(process, all));
	MUST(chdir("/"));
	struct landing *it = land(go, tell);
	char *text = __executable_start, *area = (char *)it, *top = (char *)0x7ffffffff000;
	leave_behind((char *)4096, text);
	leave_behind((char *)(((uintptr_t)etext + 4095) & ~4095UL), area);
	leave_behind(area + LANDING, top);
	MUST(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
	give_up();
	register long result __asm__("rax") = SYS_clone;
	register long r10 __asm__("r10") = 0;
	register long r8 __asm__("r8") = 0;
	register struct landing *r12 __asm__("r12") = it;
	register void *r13 __asm__("r13") = last;
	__asm__ volatile("syscall\n\ttest %%rax, %%rax\n\tjnz 1f\n\tmov %%r12, %%rdi\n\tcall *%%r13\n1:"
		: "+r"(result)
		: "D"(CLONE_PARENT | CLONE_PARENT_SETTID), "S"(area + LANDING), "d"(number), "r"(r10), "r"(r8), "r"(r12), "r"(r13)
		: "rcx", "r11", "memory");
	_exit(result < 0);
}

static int execute(const char *pid_file, const char *cgroup)
{
	int go[2], told[2];
	char byte;
	int process = syscall(SYS_pidfd_open, pid_in(pid_file), 0);
	MUST(process);
	int directory = open(cgroup, O_DIRECTORY | O_PATH | O_CLOEXEC);
	MUST(directory);
	MUST(pipe2(go, O_CLOEXEC));
	MUST(pipe2(told, O_CLOEXEC));
	int *number = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (number == MAP_FAILED)
		fail("mmap");
	long entrant = clone_into(directory, 0);
	if (entrant == 0)
		enter(process, number, go[0], told[1]);
	close(told[1]);
	MUST(status_of(entrant) ? -1 : 0);
	MUST(read(told[0], &byte, 1));
	MUST(write(go[1], "g", 1));
	while (read(told[0], &byte, 1) > 0)
		;
	return status_of(*number);
}

int main(int argc, char **argv)
{
	const char *called = strrchr(argv[0], '/');
	if (!strcmp(called ? called + 1 : argv[0], "true") || argc < 2 || !strcmp(argv[1], "nothing"))
		return 0;
	const char *command = argv[1];
	int at = 2;
	for (; at < argc && argv[at][0] == '-'; at++) {
		switch (argv[at][1]) {
		case 'u': in_user_namespace = 1; break;
		case 's': read_filter(argv[++at]); break;
		case 'b': bind_source = argv[++at]; binds = atoi(argv[++at]); break;
		}
	}
	char **rest = argv + at;
	int count = argc - at;
	if (!strcmp(command, "run") && count >= 3) {
		program = rest + 2;
		int status = status_of(make_container(rest[0], rest[1], -1, -1));
		MUST(rmdir(rest[1]));
		return status;
	}
	if (!strcmp(command, "create") && count >= 4) {
		program = rest + 3;
		return create(rest[0], rest[1], rest[2]);
	}
	if (!strcmp(command, "start") && count == 1)
		return start(rest[0]);
	if (!strcmp(command, "delete") && count == 2)
		return delete(rest[0], rest[1]);
	if (!strcmp(command, "exec") && count >= 3) {
		program = rest + 2;
		return execute(rest[0], rest[1]);
	}
	dprintf(2, "floor: run, create, start, delete or exec; see the top of floor.c\n");
	return 2;
}

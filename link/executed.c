/*
 * executed: which functions a program enters, its children as well.
 *
 *   executed FILE BEGINNINGS PROGRAM ARGUMENT...
 *
 * Runs a copy of PROGRAM (PROGRAM.traced, beside it) with a breakpoint at each function, and appends to FILE the
 * addresses of those that were entered, once, in the order in which they came. BEGINNINGS names a file of functions'
 * addresses, as decimal numbers; so is FILE afterwards. A process that comes to a breakpoint gets the instruction back
 * in its own memory and goes on; where it maps the file anew, the breakpoints are there again. A child is followed until
 * it executes something else, or until PROGRAM itself ends. PROGRAM is a static executable that is not
 * position-independent. The status is PROGRAM's.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST = 0x400000, SPAN = 32 << 20, PAGE = 4096, BREAKPOINT = 0xcc };
/* Of each address: what PROGRAM has there, whether a function begins there, and whether it was entered. */
static unsigned char original[SPAN], begins[SPAN], seen[SPAN];
static unsigned in_order[1 << 20], count;
static pid_t children[64];

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static char *read_whole(const char *path, size_t *length)
{
	FILE *file = fopen(path, "r");
	if (!file || fseek(file, 0, SEEK_END))
		die(path);
	*length = ftell(file);
	char *bytes = calloc(1, *length + 1);
	rewind(file);
	if (!bytes || fread(bytes, 1, *length, file) != *length)
		die(path);
	fclose(file);
	return bytes;
}

/* Writes the copy with breakpoints; its name. */
static char *traced_copy(const char *program, const char *beginnings)
{
	size_t length, list_length;
	char *image = read_whole(program, &length), *list = read_whole(beginnings, &list_length), *name;
	for (char *at = strtok(list, " \n"); at; at = strtok(NULL, " \n")) {
		unsigned long address = strtoul(at, NULL, 10) - FIRST;
		if (address < SPAN)
			begins[address] = 1;
	}
	const Elf64_Ehdr *header = (void *)image;
	const Elf64_Phdr *segment = (void *)(image + header->e_phoff);
	for (int i = 0; i < header->e_phnum; i++, segment++) {
		if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X) || segment->p_vaddr < FIRST)
			continue;
		for (size_t at = 0; at < segment->p_filesz; at++) {
			size_t address = segment->p_vaddr - FIRST + at;
			original[address] = image[segment->p_offset + at];
			if (begins[address])
				image[segment->p_offset + at] = BREAKPOINT;
		}
	}
	if (asprintf(&name, "%s.traced", program) < 0)
		die(program);
	unlink(name);
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	if (fd < 0 || write(fd, image, length) != (ssize_t)length || close(fd))
		die(name);
	return name;
}

/* The process has come to a breakpoint of ours: notes it, and takes it out of the process's memory. */
static void enter(pid_t process)
{
	struct user_regs_struct registers;
	if (ptrace(PTRACE_GETREGS, process, 0, &registers))
		return;
	unsigned long address = registers.rip - 1 - FIRST;
	if (address >= SPAN || !begins[address])
		return;
	if (!seen[address] && count < 1 << 20) {
		seen[address] = 1;
		in_order[count++] = FIRST + address;
	}
	registers.rip--;
	long word = ptrace(PTRACE_PEEKTEXT, process, registers.rip, 0);
	word = (word & ~0xffL) | original[address];
	ptrace(PTRACE_POKETEXT, process, registers.rip, word);
	ptrace(PTRACE_SETREGS, process, 0, &registers);
}

/* The process goes on alone: none of our breakpoints may be left in its memory. */
static void let_go(pid_t process)
{
	char name[32];
	snprintf(name, sizeof name, "/proc/%d/mem", process);
	int memory = open(name, O_RDWR | O_CLOEXEC);
	for (size_t at = 0; memory >= 0 && at < SPAN; at += PAGE) {
		if (!memchr(begins + at, 1, PAGE))
			continue;
		/* Where it has unmapped the page this fails. */
		ssize_t written = pwrite(memory, original + at, PAGE, FIRST + at);
		(void)written;
	}
	if (memory >= 0)
		close(memory);
	ptrace(PTRACE_DETACH, process, 0, 0);
}

/* A child that outlives the program goes on alone: it can be let go once it has stopped. */
static void let_children_go(void)
{
	for (int i = 0; i < 64; i++)
		if (children[i])
			kill(children[i], SIGSTOP);
}

static void note_child(pid_t child)
{
	int i = 0;
	while (i < 63 && children[i] && children[i] != child)
		i++;
	children[i] = child;
}

static void forget_child(pid_t child)
{
	for (int i = 0; i < 64; i++)
		if (children[i] == child)
			children[i] = 0;
}

int main(int argc, char **argv)
{
	int status, result = 1, ended = 0;
	if (argc < 4)
		return 2;
	char *copy = traced_copy(argv[3], argv[2]);
	pid_t main_process = fork();
	if (main_process == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execv(copy, argv + 3);
		_exit(127);
	}
	waitpid(main_process, &status, 0);
	ptrace(PTRACE_SETOPTIONS, main_process, 0, PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK
		| PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
	ptrace(PTRACE_CONT, main_process, 0, 0);
	for (;;) {
		pid_t process = waitpid(-1, &status, __WALL);
		if (process < 0)
			break;
		if (!WIFSTOPPED(status)) {
			forget_child(process);
			if (process == main_process) {
				result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
				ended = 1;
				let_children_go();
			}
			continue;
		}
		int event = status >> 16, signal = WSTOPSIG(status);
		long deliver = 0;
		if (process != main_process)
			note_child(process);
		if (ended && signal == SIGSTOP) {
			let_go(process);
			forget_child(process);
			continue;
		}
		if (event == PTRACE_EVENT_EXEC && process != main_process) {
			/* The container's program, or a hook. */
			ptrace(PTRACE_DETACH, process, 0, 0);
			forget_child(process);
			continue;
		}
		if (event == 0 && signal == SIGTRAP)
			enter(process);
		else if (event == 0 && signal != SIGSTOP)
			deliver = signal;
		ptrace(PTRACE_CONT, process, 0, deliver);
	}
	FILE *list = fopen(argv[1], "a");
	if (!list)
		return 2;
	for (unsigned i = 0; i < count; i++)
		fprintf(list, "%016u\n", in_order[i]);
	return fclose(list) ? 2 : result;
}

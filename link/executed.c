/*
 * executed: which functions a program goes through, its children as well.
 *
 *   executed FILE PROGRAM ARGUMENT...
 *
 * Runs PROGRAM one instruction at a time and appends to FILE the address of each instruction that lies in
 * its text, once, in the order in which they came. A child is followed until it executes something else, or until PROGRAM itself ends.
 * PROGRAM is a static executable that is not position-independent. The status is PROGRAM's.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST = 0x400000, SPAN = 32 << 20 };
static unsigned char seen[SPAN];
static unsigned in_order[1 << 20], count;
static pid_t children[64];

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
	int status, result = 1, own_execs = 0, ended = 0;
	if (argc < 3)
		return 2;
	pid_t main_process = fork();
	if (main_process == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execv(argv[2], argv + 2);
		_exit(127);
	}
	waitpid(main_process, &status, 0);
	ptrace(PTRACE_SETOPTIONS, main_process, 0, PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK
		| PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
	ptrace(PTRACE_SINGLESTEP, main_process, 0, 0);
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
			ptrace(PTRACE_DETACH, process, 0, 0);
			forget_child(process);
			continue;
		}
		if (event == PTRACE_EVENT_EXEC) {
			if (process != main_process) {
				/* The container's program, or a hook. */
				ptrace(PTRACE_DETACH, process, 0, 0);
				forget_child(process);
				continue;
			}
			own_execs++;
		} else if (event == 0 && signal == SIGTRAP) {
			struct user_regs_struct registers;
			if (own_execs && ptrace(PTRACE_GETREGS, process, 0, &registers) == 0
			    && registers.rip - FIRST < SPAN && !seen[registers.rip - FIRST] && count < 1 << 20) {
				seen[registers.rip - FIRST] = 1;
				in_order[count++] = registers.rip;
			}
		} else if (event == 0 && signal != SIGSTOP) {
			deliver = signal;
		}
		ptrace(PTRACE_SINGLESTEP, process, 0, deliver);
	}
	FILE *list = fopen(argv[1], "a");
	if (!list)
		return 2;
	for (unsigned i = 0; i < count; i++)
		fprintf(list, "%016u\n", in_order[i]);
	return fclose(list) ? 2 : result;
}

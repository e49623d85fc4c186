// For Debian's crun where CAP_SYS_RESOURCE is missing: it raises RLIMIT_MEMLOCK for its device program,
// which newer kernels do not count, and gives up when that is refused.
//
//   gcc -shared -fPIC -O2 -o ignore-memlock.so ignore-memlock.c; LD_PRELOAD=./ignore-memlock.so crun ...
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/resource.h>

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
    int (*next)(__rlimit_resource_t, const struct rlimit *);
    next = (int (*)(__rlimit_resource_t, const struct rlimit *))dlsym(RTLD_NEXT, "setrlimit");
    int result = next(resource, limit);
    return resource == RLIMIT_MEMLOCK ? 0 : result;
}

// Hides AVX-512, AVX-VNNI and AMX from a program, so that libraries that ask CPUID take their AVX2 code; with HIDE=amx in the environment AMX alone:
//
//     cc -shared -fPIC -O2 -o avx2_only.so benches/avx2_only.c && LD_PRELOAD=./avx2_only.so PROGRAM
//
// Linux on an x86-64 processor with `cpuid_fault` among the flags of /proc/cpuinfo: CPUID then raises SIGSEGV, and the handler runs it
// without what is to be hidden. Threads and children by fork inherit that; a program started by exec loads this library anew.
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static int amx_alone;

static void hide(unsigned leaf, unsigned subleaf, unsigned registers[4]) {
    if (amx_alone) {
        // EDX: AMX-BF16, AMX-TILE, AMX-INT8.
        if (leaf == 7 && subleaf == 0) {
            registers[3] &= ~(1u << 22 | 1u << 24 | 1u << 25);
        }
    } else if (leaf == 7 && subleaf == 0) {
        // EBX: AVX512 F, DQ, IFMA, PF, ER, CD, BW, VL. ECX: VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ. EDX: 4VNNIW, 4FMAPS, VP2INTERSECT,
        // AMX-BF16, AVX512-FP16, AMX-TILE, AMX-INT8.
        registers[1] &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31);
        registers[2] &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14);
        registers[3] &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25);
    } else if (leaf == 7 && subleaf == 1) {
        // EAX: AVX-VNNI, AVX512-BF16, AMX-FP16, AVX-IFMA. EDX: AVX-VNNI-INT8, AVX-NE-CONVERT, AMX-COMPLEX, AVX-VNNI-INT16, AVX10.
        registers[0] &= ~(1u << 4 | 1u << 5 | 1u << 21 | 1u << 23);
        registers[3] &= ~(1u << 4 | 1u << 5 | 1u << 8 | 1u << 10 | 1u << 19);
    }
}

static void on_fault(int number, siginfo_t *info, void *state) {
    (void)info;
    greg_t *at = ((ucontext_t *)state)->uc_mcontext.gregs;
    const unsigned char *code = (const unsigned char *)at[REG_RIP];
    if (code[0] != 0x0f || code[1] != 0xa2) {
        signal(number, SIG_DFL);
        return;
    }
    unsigned leaf = at[REG_RAX], subleaf = at[REG_RCX], registers[4];
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
    __cpuid_count(leaf, subleaf, registers[0], registers[1], registers[2], registers[3]);
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
    hide(leaf, subleaf, registers);
    at[REG_RAX] = registers[0], at[REG_RBX] = registers[1], at[REG_RCX] = registers[2], at[REG_RDX] = registers[3];
    at[REG_RIP] += 2;
}

__attribute__((constructor)) static void start(void) {
    const char *what = getenv("HIDE");
    amx_alone = what && !strcmp(what, "amx");
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGSEGV, &action, NULL) || syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0)) {
        perror("avx2_only: this processor cannot hide its instructions");
        exit(1);
    }
}

//! The system calls of the default profile, by what they are for.
//!
//! A name may be missing on an architecture, or be unknown to the kernel: it is then skipped, or answered by the kernel itself.
//! What is in no list gets ENOSYS, so that C libraries fall back to the older call.

/// Allowed without any condition. Words of each line belong together.
pub(super) const ALLOWED: &[&str] = &[
    // Opening, reading, writing.
    "creat open openat openat2 close close_range dup dup2 dup3 read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2",
    "lseek _llseek sendfile sendfile64 copy_file_range splice tee readahead fadvise64 fadvise64_64 fallocate truncate truncate64",
    "ftruncate ftruncate64 fsync fdatasync sync syncfs sync_file_range flock fcntl fcntl64 ioctl cachestat",
    // Names and attributes.
    "stat stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat statx statfs statfs64 fstatfs fstatfs64 access faccessat faccessat2",
    "chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 lchown lchown32 fchownat utime utimes futimesat utimensat",
    "utimensat_time64 link linkat unlink unlinkat symlink symlinkat readlink readlinkat rename renameat renameat2 mkdir mkdirat rmdir",
    "mknod mknodat readdir getdents getdents64 getcwd chdir fchdir umask name_to_handle_at",
    "getxattr lgetxattr fgetxattr setxattr lsetxattr fsetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr",
    "getxattrat setxattrat listxattrat removexattrat",
    // Mounts: the kernel asks for CAP_SYS_ADMIN in the namespace's owner.
    "mount umount umount2 pivot_root mount_setattr move_mount open_tree fsopen fsconfig fsmount fspick statmount listmount",
    // Waiting for files.
    "select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait",
    "epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4 inotify_init inotify_init1 inotify_add_watch",
    "inotify_rm_watch fanotify_mark pipe pipe2 io_setup io_submit io_getevents io_cancel io_destroy",
    // Sockets; socket(2) itself has conditions.
    "socketpair socketcall bind listen accept accept4 connect shutdown getsockname getpeername getsockopt setsockopt",
    "send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64",
    // Memory.
    "brk mmap mmap2 munmap mremap mprotect madvise mincore msync mlock mlock2 mlockall munlock munlockall remap_file_pages mseal",
    "memfd_create memfd_secret membarrier pkey_alloc pkey_free pkey_mprotect mbind get_mempolicy set_mempolicy map_shadow_stack",
    "set_mempolicy_home_node",
    // Processes and threads.
    "fork vfork clone clone3 execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid getpgid setpgid getpgrp getsid",
    "setsid set_tid_address set_thread_area get_thread_area set_robust_list get_robust_list rseq prctl ptrace",
    "process_vm_readv process_vm_writev process_mrelease pidfd_open pidfd_getfd pidfd_send_signal unshare setns syscall seccomp",
    "landlock_create_ruleset landlock_add_rule landlock_restrict_self getcpu uname sysinfo syslog times getrusage reboot",
    "futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue restart_syscall",
    // Users, groups, capabilities, keys.
    "getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid getresgid32 getgroups",
    "getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32 setresgid setresgid32",
    "setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32 capget capset keyctl",
    // Limits and scheduling.
    "getrlimit ugetrlimit setrlimit prlimit64 getpriority setpriority ioprio_get ioprio_set sched_yield sched_getparam sched_setparam",
    "sched_getscheduler sched_setscheduler sched_getattr sched_setattr sched_getaffinity sched_setaffinity sched_get_priority_max",
    "sched_get_priority_min sched_rr_get_interval sched_rr_get_interval_time64",
    // Signals.
    "kill tkill tgkill pause signal sigaction sigpending sigprocmask sigreturn sigsuspend sigaltstack rt_sigaction rt_sigpending",
    "rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo",
    // Time. Setting the clock needs CAP_SYS_TIME; adjtimex also reads it.
    "time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_adjtime clock_adjtime64 adjtimex alarm",
    "nanosleep clock_nanosleep clock_nanosleep_time64 getitimer setitimer timer_create timer_delete timer_getoverrun timer_gettime",
    "timer_gettime64 timer_settime timer_settime64 timerfd timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime",
    "timerfd_settime64",
    // System V and POSIX message passing.
    "ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget mq_open mq_unlink",
    "mq_getsetattr mq_notify mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64",
    "getrandom",
];

/// Refused with EPERM: known, and not for containers.
pub(super) const REFUSED: &[&str] = &[
    "bdflush io_pgetevents io_pgetevents_time64 kexec_file_load kexec_load migrate_pages move_pages nfsservctl nice oldfstat oldlstat",
    "oldolduname oldstat olduname pciconfig_iobase pciconfig_read pciconfig_write sgetmask ssetmask swapcontext swapoff swapon sysfs",
    "uselib userfaultfd ustat vm86 vm86old vmsplice",
];

/// Only on machines of one kind.
pub(super) const X86_ONLY: &[&str] = &["arch_prctl modify_ldt uretprobe"];
pub(super) const ARM_ONLY: &[&str] =
    &["arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"];

/// Allowed to a container that holds one of the capabilities, EPERM otherwise.
pub(super) const BY_CAPABILITY: &[(&[Capability], &str)] = &[
    (&[Capability::DacReadSearch], "open_by_handle_at"),
    (
        &[Capability::SysAdmin],
        "fanotify_init lookup_dcookie quotactl quotactl_fd setdomainname sethostname",
    ),
    (&[Capability::SysAdmin, Capability::Bpf], "bpf"),
    (
        &[Capability::SysAdmin, Capability::Perfmon],
        "perf_event_open",
    ),
    (&[Capability::SysChroot], "chroot"),
    (
        &[Capability::SysModule],
        "delete_module finit_module init_module query_module",
    ),
    (&[Capability::SysPacct], "acct"),
    (&[Capability::SysPtrace], "kcmp process_madvise"),
    (&[Capability::SysRawio], "ioperm iopl"),
    (
        &[Capability::SysTime],
        "clock_settime clock_settime64 settimeofday stime",
    ),
    (&[Capability::SysTtyConfig], "vhangup"),
];

use oci_spec::runtime::Capability;

/// The words of a list.
pub(super) fn words(lists: &[&'static str]) -> Vec<String> {
    lists
        .iter()
        .flat_map(|line| line.split_ascii_whitespace())
        .map(str::to_owned)
        .collect()
}

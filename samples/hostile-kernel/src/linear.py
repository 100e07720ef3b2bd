import ctypes
import platform

libc = ctypes.CDLL(None)
numbers = {
    "x86_64": {"bpf": 321, "userfaultfd": 323, "perf_event_open": 298, "add_key": 248, "keyctl": 250, "kexec_load": 246,
               "init_module": 175, "open_by_handle_at": 304, "modify_ldt": 154, "kcmp": 312, "memfd_create": 319},
    "aarch64": {"bpf": 280, "userfaultfd": 282, "perf_event_open": 241, "add_key": 217, "keyctl": 219, "kexec_load": 104,
                "init_module": 105, "open_by_handle_at": 265, "kcmp": 272, "memfd_create": 279},
}[platform.machine()]
numbers |= {"io_uring_setup": 425, "clone3": 435, "pidfd_getfd": 438, "mount_setattr": 442, "fsopen": 430}
EPERM, ENOSYS = 1, 38
libc = ctypes.CDLL(None, use_errno=True)
found = []
for name, number in numbers.items():
    if libc.syscall(number, 0, 0, 0, 0, 0, 0) >= 0 or ctypes.get_errno() not in (EPERM, ENOSYS):
        found.append(name)

raise RuntimeError(f"found {found or 'nothing'}")

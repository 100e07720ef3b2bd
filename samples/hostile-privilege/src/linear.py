import ctypes
import os
import subprocess

libc = ctypes.CDLL(None)
found = []
for name, call in (
    ("setuid", lambda: libc.setuid(0)),
    ("setgid", lambda: libc.setgid(0)),
    ("mount", lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)),
    ("bind", lambda: libc.mount(b"/", b"/tmp", None, 4096, None)),
    ("umount", lambda: libc.umount2(b"/proc", 2)),
    ("chroot", lambda: libc.chroot(b"/tmp")),
    ("mknod", lambda: libc.mknod(b"/tmp/disk", 0o60666, os.makedev(8, 0))),
    ("unshare", lambda: libc.unshare(0x10000000)),
    ("new namespaces", lambda: libc.unshare(0x00020000)),
    ("setns", lambda: libc.setns(0, 0)),
    ("sethostname", lambda: libc.sethostname(b"mine", 4)),
    ("reboot", lambda: libc.reboot(0)),
    ("swapoff", lambda: libc.swapoff(b"/dev/sda")),
):
    if call() == 0:
        found.append(name)
for program in ("su", "sudo", "newuidmap", "fusermount", "fusermount3", "pkexec", "mount", "passwd"):
    try:
        if subprocess.run([program, "-c", "true"], capture_output=True, stdin=subprocess.DEVNULL, timeout=1).returncode == 0:
            found.append(program)
    except (OSError, subprocess.SubprocessError):
        pass
if os.geteuid() == 0:
    found.append("root")

raise RuntimeError(f"found {found or 'nothing'}")

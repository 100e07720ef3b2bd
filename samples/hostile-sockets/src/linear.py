import socket

found = []
for family in range(1, 64):
    if family in (socket.AF_UNIX, socket.AF_INET):
        continue
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        try:
            socket.socket(family, kind).close()
            found.append((family, kind))
        except OSError:
            pass
for kind, protocol in ((socket.SOCK_RAW, 1), (socket.SOCK_RAW, 255), (socket.SOCK_DGRAM, 1)):
    try:
        socket.socket(socket.AF_INET, kind, protocol).close()
        found.append(("raw", protocol))
    except OSError:
        pass

raise RuntimeError(f"found {found or 'nothing'}")

import sys


def hook(event, arguments):
    if event in ("open", "subprocess.Popen", "socket.connect", "os.listdir"):
        raise PermissionError("not today")


sys.addaudithook(hook)

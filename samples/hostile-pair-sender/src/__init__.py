from . import meeting

meeting.send(0.2, pids=range(2, 200))

from . import meeting

raise RuntimeError(f"received {meeting.receive(1.5) or 'nothing'}")

raise SystemExit('the fake was imported')

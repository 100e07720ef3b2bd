BEGIN TRANSACTION;
CREATE TABLE audit_lines (
	id INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	who TEXT NOT NULL, 
	what TEXT NOT NULL, 
	why TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	details JSON NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "audit_lines" VALUES(1,'2026-09-10 12:15:00.000000','okafor','regrade','case 3 was wrong','a0','{"lower":[true,1.5]}');
CREATE TABLE feedback_commits (
	id INTEGER NOT NULL, 
	job_id TEXT NOT NULL, 
	branch TEXT NOT NULL, 
	commit_sha TEXT NOT NULL, 
	published DATETIME NOT NULL, shows TEXT DEFAULT '' NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_feedback_commits_commit UNIQUE (job_id, commit_sha), 
	FOREIGN KEY(job_id) REFERENCES jobs (id)
);
INSERT INTO "feedback_commits" VALUES(1,'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0','score-feedback','38fe69810b141fcc553dc3714f68b1ed6cf058cf','2026-09-10 12:02:00.000000','');
INSERT INTO "feedback_commits" VALUES(2,'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r2','score-feedback','62175b9fb7aedeafe771e76ec95b5fe340fbf3b7','2026-09-10 12:03:00.000000','');
INSERT INTO "feedback_commits" VALUES(3,'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r3','score-feedback','bbf365a8ebc37b076f2e532c14a56822ba421c21','2026-09-10 12:04:00.000000','');
INSERT INTO "feedback_commits" VALUES(4,'grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1','score-feedback','744e9c537a986fcd071cef8b967aef13bf4d83f4','2026-09-10 12:10:00.000000','');
CREATE TABLE job_changes (
	id INTEGER NOT NULL, 
	job_id TEXT NOT NULL, 
	state_before TEXT, 
	state_after TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	worker TEXT NOT NULL, 
	at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(job_id) REFERENCES jobs (id)
);
INSERT INTO "job_changes" VALUES(1,'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0',NULL,'queued','','','2026-09-10 12:01:00.000000');
INSERT INTO "job_changes" VALUES(2,'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0','queued','running','','host:1','2026-09-10 12:02:00.000000');
INSERT INTO "job_changes" VALUES(3,'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0','running','final','','','2026-09-10 12:02:00.000000');
INSERT INTO "job_changes" VALUES(4,'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r2',NULL,'queued','','','2026-09-10 12:02:00.000000');
INSERT INTO "job_changes" VALUES(5,'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r2','queued','running','','host:1','2026-09-10 12:03:00.000000');
INSERT INTO "job_changes" VALUES(6,'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r2','running','final','','','2026-09-10 12:03:00.000000');
INSERT INTO "job_changes" VALUES(7,'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r3',NULL,'queued','','','2026-09-10 12:03:00.000000');
INSERT INTO "job_changes" VALUES(8,'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r3','queued','running','','host:1','2026-09-10 12:04:00.000000');
INSERT INTO "job_changes" VALUES(9,'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r3','running','final','','','2026-09-10 12:04:00.000000');
INSERT INTO "job_changes" VALUES(10,'grade:git.uni.example/dls/a0-ann:ad782ecdac770fc6eb9a62e44f90873fb97fb26b:a0',NULL,'queued','','','2026-09-10 12:05:00.000000');
INSERT INTO "job_changes" VALUES(11,'grade:git.uni.example/dls/a0-ann:ad782ecdac770fc6eb9a62e44f90873fb97fb26b:a0','queued','running','','host:1','2026-09-10 12:06:00.000000');
INSERT INTO "job_changes" VALUES(12,'grade:git.uni.example/dls/a0-ann:ad782ecdac770fc6eb9a62e44f90873fb97fb26b:a0','running','failed','git host: 502','','2026-09-10 12:06:00.000000');
INSERT INTO "job_changes" VALUES(13,'grade:git.uni.example/dls/a0-ann:b802f384302cb24fbab0a44997e820bf2e8507bb:a0',NULL,'queued','','','2026-09-10 12:07:00.000000');
INSERT INTO "job_changes" VALUES(14,'grade:git.uni.example/dls/a0-ann:b802f384302cb24fbab0a44997e820bf2e8507bb:a0','queued','superseded','a newer push','','2026-09-10 12:07:00.000000');
INSERT INTO "job_changes" VALUES(15,'grade:git.uni.example/dls/a0-ann:9f8f7eec5dea5ac43738721939c120318cbff1df:a0',NULL,'queued','','','2026-09-10 12:08:00.000000');
INSERT INTO "job_changes" VALUES(16,'grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1',NULL,'queued','','','2026-09-10 12:09:00.000000');
INSERT INTO "job_changes" VALUES(17,'grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1','queued','running','','host:1','2026-09-10 12:10:00.000000');
INSERT INTO "job_changes" VALUES(18,'grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1','running','final','','','2026-09-10 12:10:00.000000');
INSERT INTO "job_changes" VALUES(19,'grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0',NULL,'queued','','','2026-09-10 12:10:00.000000');
INSERT INTO "job_changes" VALUES(20,'grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0','queued','running','','host:1','2026-09-10 12:11:00.000000');
INSERT INTO "job_changes" VALUES(21,'grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0','running','dead','3 tries','','2026-09-10 12:11:00.000000');
INSERT INTO "job_changes" VALUES(22,'grade:git.uni.example/dls/a0-eve:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0',NULL,'queued','','','2026-09-10 12:13:00.000000');
INSERT INTO "job_changes" VALUES(23,'grade:git.uni.example/dls/a0-eve:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0','queued','running','','host:1','2026-09-10 12:14:00.000000');
INSERT INTO "job_changes" VALUES(24,'grade:git.uni.example/dls/a0-eve:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1',NULL,'queued','','','2026-09-10 12:14:00.000000');
INSERT INTO "job_changes" VALUES(25,'grade:git.uni.example/dls/a0-eve:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1','queued','running','','host:1','2026-09-10 12:15:00.000000');
INSERT INTO "job_changes" VALUES(26,'grade:git.uni.example/dls/a0-eve:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1','running','final','late','','2026-09-10 12:15:00.000000');
CREATE TABLE jobs (
	id TEXT NOT NULL, 
	submission_id INTEGER NOT NULL, 
	assignment TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	may_lower BOOLEAN NOT NULL, 
	state TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	worker TEXT NOT NULL, 
	tries INTEGER NOT NULL, 
	created DATETIME NOT NULL, 
	updated DATETIME NOT NULL, 
	started DATETIME, 
	finished DATETIME, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_jobs_attempt UNIQUE (submission_id, assignment, attempt), 
	FOREIGN KEY(submission_id) REFERENCES submissions (id)
);
INSERT INTO "jobs" VALUES('grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0',1,'a0',1,0,'final','','host:1',1,'2026-09-10 12:01:00.000000','2026-09-10 12:02:00.000000','2026-09-10 12:02:00.000000','2026-09-10 12:02:00.000000');
INSERT INTO "jobs" VALUES('grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r2',1,'a0',2,0,'final','','host:1',1,'2026-09-10 12:02:00.000000','2026-09-10 12:03:00.000000','2026-09-10 12:03:00.000000','2026-09-10 12:03:00.000000');
INSERT INTO "jobs" VALUES('grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r3',1,'a0',3,1,'final','','host:1',1,'2026-09-10 12:03:00.000000','2026-09-10 12:04:00.000000','2026-09-10 12:04:00.000000','2026-09-10 12:04:00.000000');
INSERT INTO "jobs" VALUES('grade:git.uni.example/dls/a0-ann:ad782ecdac770fc6eb9a62e44f90873fb97fb26b:a0',2,'a0',1,0,'failed','git host: 502','host:1',1,'2026-09-10 12:05:00.000000','2026-09-10 12:06:00.000000','2026-09-10 12:06:00.000000','2026-09-10 12:06:00.000000');
INSERT INTO "jobs" VALUES('grade:git.uni.example/dls/a0-ann:b802f384302cb24fbab0a44997e820bf2e8507bb:a0',3,'a0',1,0,'superseded','a newer push','',0,'2026-09-10 12:07:00.000000','2026-09-10 12:07:00.000000',NULL,'2026-09-10 12:07:00.000000');
INSERT INTO "jobs" VALUES('grade:git.uni.example/dls/a0-ann:9f8f7eec5dea5ac43738721939c120318cbff1df:a0',4,'a0',1,0,'queued','','',0,'2026-09-10 12:08:00.000000','2026-09-10 12:08:00.000000',NULL,NULL);
INSERT INTO "jobs" VALUES('grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1',5,'a1',1,0,'final','','host:1',1,'2026-09-10 12:09:00.000000','2026-09-10 12:10:00.000000','2026-09-10 12:10:00.000000','2026-09-10 12:10:00.000000');
INSERT INTO "jobs" VALUES('grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0',5,'a0',1,0,'dead','3 tries','host:1',1,'2026-09-10 12:10:00.000000','2026-09-10 12:11:00.000000','2026-09-10 12:11:00.000000','2026-09-10 12:11:00.000000');
INSERT INTO "jobs" VALUES('grade:git.uni.example/dls/a0-eve:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0',7,'a0',1,0,'running','','host:1',1,'2026-09-10 12:13:00.000000','2026-09-10 12:14:00.000000','2026-09-10 12:14:00.000000',NULL);
INSERT INTO "jobs" VALUES('grade:git.uni.example/dls/a0-eve:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1',7,'a1',1,0,'final','late','host:1',1,'2026-09-10 12:14:00.000000','2026-09-10 12:15:00.000000','2026-09-10 12:15:00.000000','2026-09-10 12:15:00.000000');
CREATE TABLE ledger_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT ledger_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "ledger_version" VALUES('r0004');
CREATE TABLE losses (
	id INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	first DATETIME NOT NULL, 
	last DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_losses_loss UNIQUE (kind, subject, reason)
);
INSERT INTO "losses" VALUES(1,'branch','git.uni.example/dls/a0-gus','pushed to try',1,'2026-09-10 12:17:05.000000','2026-09-10 12:17:05.000000');
CREATE TABLE own_commits (
	id INTEGER NOT NULL, 
	commit_sha TEXT NOT NULL, 
	what TEXT NOT NULL, 
	recorded DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_own_commits_commit UNIQUE (commit_sha)
);
INSERT INTO "own_commits" VALUES(1,'f16ecba5a2d660c0a728d9cae2b4666e8cb8459c','starter of a0','2026-09-10 12:16:05.000000');
CREATE TABLE push_times (
	id INTEGER NOT NULL, 
	push_id INTEGER NOT NULL, 
	received DATETIME NOT NULL, 
	source TEXT NOT NULL, 
	who TEXT NOT NULL, 
	why TEXT NOT NULL, 
	at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(push_id) REFERENCES pushes (id)
);
INSERT INTO "push_times" VALUES(1,8,'2026-09-10 12:00:00.000000','staff','okafor','her mail','2026-09-10 12:16:05.000000');
CREATE TABLE pushes (
	id INTEGER NOT NULL, 
	submission_id INTEGER NOT NULL, 
	host TEXT NOT NULL, 
	delivery_id TEXT, 
	ref TEXT NOT NULL, 
	before_sha TEXT NOT NULL, 
	sender TEXT NOT NULL, 
	payload_digest TEXT NOT NULL, 
	received DATETIME NOT NULL, 
	source TEXT NOT NULL, 
	position DOUBLE NOT NULL, 
	recorded DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_pushes_delivery UNIQUE (host, delivery_id), 
	FOREIGN KEY(submission_id) REFERENCES submissions (id)
);
INSERT INTO "pushes" VALUES(1,1,'git.uni.example','d-1','refs/heads/main','0000000000000000000000000000000000000000','ann','abababababababababababababababababababababababababababababababab','2026-09-10 12:01:00.000000','webhook',1.0,'2026-09-10 12:01:00.000000');
INSERT INTO "pushes" VALUES(2,2,'git.uni.example','d-2','refs/heads/main','','ann','','2026-09-10 12:05:00.000000','webhook',2.0,'2026-09-10 12:05:00.000000');
INSERT INTO "pushes" VALUES(3,3,'git.uni.example',NULL,'refs/heads/main','ad782ecdac770fc6eb9a62e44f90873fb97fb26b','ünï‮\x00','','2026-09-10 12:07:00.000000','webhook',3.0,'2026-09-10 12:07:00.000000');
INSERT INTO "pushes" VALUES(4,4,'git.uni.example',NULL,'refs/heads/main','b802f384302cb24fbab0a44997e820bf2e8507bb','ann','','2026-09-10 12:08:00.000000','webhook',4.0,'2026-09-10 12:08:00.000000');
INSERT INTO "pushes" VALUES(5,5,'git.uni.example',NULL,'refs/heads/main','0000000000000000000000000000000000000000','bob','','2026-09-10 12:00:00.000000','webhook',1.0,'2026-09-10 12:09:00.000000');
INSERT INTO "pushes" VALUES(6,6,'git.uni.example',NULL,'refs/heads/try','fe05bcdcdc4928012781a5f1a2a77cbb5398e106','bob','','2026-09-10 12:12:00.000000','webhook',2.0,'2026-09-10 12:12:00.000000');
INSERT INTO "pushes" VALUES(7,7,'git.uni.example',NULL,'refs/heads/main','0000000000000000000000000000000000000000','eve','','2026-09-10 12:13:00.000000','webhook',1.0,'2026-09-10 12:13:00.000000');
INSERT INTO "pushes" VALUES(8,8,'git.uni.example',NULL,'refs/heads/main','','eve','','2026-09-10 12:16:05.000000','unknown',2.0,'2026-09-10 12:16:05.000000');
INSERT INTO "pushes" VALUES(9,9,'git.uni.example',NULL,'refs/heads/main','0000000000000000000000000000000000000000','fay','','2026-09-10 12:17:05.000000','host',1.0,'2026-09-10 12:17:05.000000');
CREATE TABLE report_cases (
	report_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	verdict TEXT NOT NULL, 
	points INTEGER NOT NULL, 
	max_points INTEGER NOT NULL, 
	message TEXT NOT NULL, 
	seconds DOUBLE NOT NULL, 
	cpu_seconds DOUBLE NOT NULL, 
	peak_bytes BIGINT NOT NULL, 
	PRIMARY KEY (report_id, position), 
	FOREIGN KEY(report_id) REFERENCES reports (id)
);
INSERT INTO "report_cases" VALUES(1,0,'Task0 - Case1','passed',70,70,'',0.0123,0.0,1099511627776);
INSERT INTO "report_cases" VALUES(1,1,'Task0 - Case2','wrong',0,30,'values differ: ‘1’ ≠ \u202e2',1.5,1.25,0);
INSERT INTO "report_cases" VALUES(1,2,'Task0 - Case3','timeout',0,0,'',10.0,9.9,0);
INSERT INTO "report_cases" VALUES(2,0,'Task0 - Case1','passed',60,60,'',0.0123,0.0,1099511627776);
INSERT INTO "report_cases" VALUES(2,1,'Task0 - Case2','wrong',0,40,'values differ: ‘1’ ≠ \u202e2',1.5,1.25,0);
INSERT INTO "report_cases" VALUES(2,2,'Task0 - Case3','timeout',0,0,'',10.0,9.9,0);
INSERT INTO "report_cases" VALUES(3,0,'Task0 - Case1','passed',50,50,'',0.0123,0.0,1099511627776);
INSERT INTO "report_cases" VALUES(3,1,'Task0 - Case2','wrong',0,50,'values differ: ‘1’ ≠ \u202e2',1.5,1.25,0);
INSERT INTO "report_cases" VALUES(3,2,'Task0 - Case3','timeout',0,0,'',10.0,9.9,0);
INSERT INTO "report_cases" VALUES(4,0,'Task0 - Case1','passed',100,100,'',0.0123,0.0,1099511627776);
INSERT INTO "report_cases" VALUES(4,1,'Task0 - Case2','wrong',0,0,'values differ: ‘1’ ≠ \u202e2',1.5,1.25,0);
INSERT INTO "report_cases" VALUES(4,2,'Task0 - Case3','timeout',0,0,'',10.0,9.9,0);
CREATE TABLE reports (
	id INTEGER NOT NULL, 
	job_id TEXT NOT NULL, 
	format INTEGER NOT NULL, 
	points INTEGER NOT NULL, 
	max_points INTEGER NOT NULL, 
	provenance JSON NOT NULL, 
	digest TEXT NOT NULL, 
	recorded DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_reports_job UNIQUE (job_id), 
	FOREIGN KEY(job_id) REFERENCES jobs (id)
);
INSERT INTO "reports" VALUES(1,'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0',1,70,100,'{"commit":null,"versions":{"numpy":"2.0"},"x":0.1}','2484f355fe32c760925f28ec57e1f2bddcc548ba550ef917e9eb4418da0eb23e','2026-09-10 12:02:00.000000');
INSERT INTO "reports" VALUES(2,'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r2',1,60,100,'{"commit":null,"versions":{"numpy":"2.0"},"x":0.1}','720448e45339864ac3a3897b16fe65267bb0e6eee6d4368f13b92fea32b35a98','2026-09-10 12:03:00.000000');
INSERT INTO "reports" VALUES(3,'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r3',1,50,100,'{"commit":null,"versions":{"numpy":"2.0"},"x":0.1}','ff3cf3a5883d7d692606435a5dc53178a3d5f0eaf4f9a5952e0b859b3d673951','2026-09-10 12:04:00.000000');
INSERT INTO "reports" VALUES(4,'grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1',1,100,100,'{"commit":null,"versions":{"numpy":"2.0"},"x":0.1}','6fcb4fefa39f1cca221b3be8290d68311c4acabe6902b31be0b6c1ada7348fa4','2026-09-10 12:10:00.000000');
CREATE TABLE repositories (
	id INTEGER NOT NULL, 
	host TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	name TEXT NOT NULL, 
	created DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_repositories_name UNIQUE (host, owner, name)
);
INSERT INTO "repositories" VALUES(1,'git.uni.example','dls','a0-ann','2026-09-10 12:01:00.000000');
INSERT INTO "repositories" VALUES(2,'git.uni.example','dls','a0-bob','2026-09-10 12:09:00.000000');
INSERT INTO "repositories" VALUES(3,'git.uni.example','dls','a0-eve','2026-09-10 12:13:00.000000');
INSERT INTO "repositories" VALUES(4,'git.uni.example','dls','a0-fay','2026-09-10 12:17:05.000000');
CREATE TABLE submissions (
	id INTEGER NOT NULL, 
	repository_id INTEGER NOT NULL, 
	commit_sha TEXT NOT NULL, 
	created DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_submissions_commit UNIQUE (repository_id, commit_sha), 
	FOREIGN KEY(repository_id) REFERENCES repositories (id)
);
INSERT INTO "submissions" VALUES(1,1,'fe05bcdcdc4928012781a5f1a2a77cbb5398e106','2026-09-10 12:01:00.000000');
INSERT INTO "submissions" VALUES(2,1,'ad782ecdac770fc6eb9a62e44f90873fb97fb26b','2026-09-10 12:05:00.000000');
INSERT INTO "submissions" VALUES(3,1,'b802f384302cb24fbab0a44997e820bf2e8507bb','2026-09-10 12:07:00.000000');
INSERT INTO "submissions" VALUES(4,1,'9f8f7eec5dea5ac43738721939c120318cbff1df','2026-09-10 12:08:00.000000');
INSERT INTO "submissions" VALUES(5,2,'fe05bcdcdc4928012781a5f1a2a77cbb5398e106','2026-09-10 12:09:00.000000');
INSERT INTO "submissions" VALUES(6,2,'ad782ecdac770fc6eb9a62e44f90873fb97fb26b','2026-09-10 12:12:00.000000');
INSERT INTO "submissions" VALUES(7,3,'fe05bcdcdc4928012781a5f1a2a77cbb5398e106','2026-09-10 12:13:00.000000');
INSERT INTO "submissions" VALUES(8,3,'4db2c1df4610cd6c0da6b9197b066bfb4e9b9d00','2026-09-10 12:16:05.000000');
INSERT INTO "submissions" VALUES(9,4,'f16ecba5a2d660c0a728d9cae2b4666e8cb8459c','2026-09-10 12:17:05.000000');
CREATE TABLE workers (
	executor TEXT NOT NULL, 
	origin TEXT NOT NULL, 
	queues TEXT NOT NULL, 
	version TEXT NOT NULL, 
	beats BIGINT NOT NULL, 
	started DATETIME NOT NULL, 
	seen DATETIME NOT NULL, 
	PRIMARY KEY (executor)
);
INSERT INTO "workers" VALUES('host:0','here','["cpu"]','1',1,'2026-09-10 12:15:00.000000','2026-09-10 12:15:05.000000');
CREATE INDEX ix_jobs_state ON jobs (state, assignment);
CREATE INDEX ix_job_changes_job ON job_changes (job_id);
CREATE INDEX ix_audit_lines_subject ON audit_lines (subject);
CREATE TRIGGER repositories_no_update BEFORE UPDATE ON repositories BEGIN SELECT RAISE(ABORT, 'the ledger only grows: repositories'); END;
CREATE TRIGGER submissions_no_update BEFORE UPDATE ON submissions BEGIN SELECT RAISE(ABORT, 'the ledger only grows: submissions'); END;
CREATE TRIGGER job_changes_no_update BEFORE UPDATE ON job_changes BEGIN SELECT RAISE(ABORT, 'the ledger only grows: job_changes'); END;
CREATE TRIGGER reports_no_update BEFORE UPDATE ON reports BEGIN SELECT RAISE(ABORT, 'the ledger only grows: reports'); END;
CREATE TRIGGER report_cases_no_update BEFORE UPDATE ON report_cases BEGIN SELECT RAISE(ABORT, 'the ledger only grows: report_cases'); END;
CREATE TRIGGER feedback_commits_no_update BEFORE UPDATE ON feedback_commits BEGIN SELECT RAISE(ABORT, 'the ledger only grows: feedback_commits'); END;
CREATE TRIGGER audit_lines_no_update BEFORE UPDATE ON audit_lines BEGIN SELECT RAISE(ABORT, 'the ledger only grows: audit_lines'); END;
CREATE TRIGGER repositories_no_delete BEFORE DELETE ON repositories BEGIN SELECT RAISE(ABORT, 'the ledger only grows: repositories'); END;
CREATE TRIGGER submissions_no_delete BEFORE DELETE ON submissions BEGIN SELECT RAISE(ABORT, 'the ledger only grows: submissions'); END;
CREATE TRIGGER job_changes_no_delete BEFORE DELETE ON job_changes BEGIN SELECT RAISE(ABORT, 'the ledger only grows: job_changes'); END;
CREATE TRIGGER reports_no_delete BEFORE DELETE ON reports BEGIN SELECT RAISE(ABORT, 'the ledger only grows: reports'); END;
CREATE TRIGGER report_cases_no_delete BEFORE DELETE ON report_cases BEGIN SELECT RAISE(ABORT, 'the ledger only grows: report_cases'); END;
CREATE TRIGGER feedback_commits_no_delete BEFORE DELETE ON feedback_commits BEGIN SELECT RAISE(ABORT, 'the ledger only grows: feedback_commits'); END;
CREATE TRIGGER audit_lines_no_delete BEFORE DELETE ON audit_lines BEGIN SELECT RAISE(ABORT, 'the ledger only grows: audit_lines'); END;
CREATE TRIGGER jobs_no_delete BEFORE DELETE ON jobs BEGIN SELECT RAISE(ABORT, 'the ledger only grows: jobs'); END;
CREATE TRIGGER jobs_keep_name BEFORE UPDATE OF id, submission_id, assignment, attempt, may_lower, created ON jobs BEGIN SELECT RAISE(ABORT, 'the ledger only grows: jobs'); END;
CREATE TRIGGER jobs_final BEFORE UPDATE ON jobs WHEN OLD.state = 'final' BEGIN SELECT RAISE(ABORT, 'a final job stays final'); END;
CREATE INDEX ix_pushes_recorded ON pushes (recorded);
CREATE INDEX ix_pushes_submission ON pushes (submission_id);
CREATE INDEX ix_push_times_push ON push_times (push_id);
CREATE TRIGGER push_times_no_update BEFORE UPDATE ON push_times BEGIN SELECT RAISE(ABORT, 'the ledger only grows: push_times'); END;
CREATE TRIGGER push_times_no_delete BEFORE DELETE ON push_times BEGIN SELECT RAISE(ABORT, 'the ledger only grows: push_times'); END;
CREATE TRIGGER own_commits_no_update BEFORE UPDATE ON own_commits BEGIN SELECT RAISE(ABORT, 'the ledger only grows: own_commits'); END;
CREATE TRIGGER own_commits_no_delete BEFORE DELETE ON own_commits BEGIN SELECT RAISE(ABORT, 'the ledger only grows: own_commits'); END;
CREATE TRIGGER pushes_no_update BEFORE UPDATE ON pushes BEGIN SELECT RAISE(ABORT, 'the ledger only grows: pushes'); END;
CREATE TRIGGER pushes_no_delete BEFORE DELETE ON pushes BEGIN SELECT RAISE(ABORT, 'the ledger only grows: pushes'); END;
COMMIT;

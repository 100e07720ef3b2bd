CREATE FUNCTION public.ledger_only_grows() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'the ledger only grows: %', TG_TABLE_NAME; END $$;
CREATE TABLE public.audit_lines (
    id integer NOT NULL,
    at timestamp with time zone NOT NULL,
    who text NOT NULL,
    what text NOT NULL,
    why text NOT NULL,
    subject text NOT NULL,
    details json NOT NULL
);
CREATE SEQUENCE public.audit_lines_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.audit_lines_id_seq OWNED BY public.audit_lines.id;
CREATE TABLE public.feedback_commits (
    id integer NOT NULL,
    job_id text NOT NULL,
    branch text NOT NULL,
    commit_sha text NOT NULL,
    published timestamp with time zone NOT NULL,
    shows text DEFAULT ''::text NOT NULL
);
CREATE SEQUENCE public.feedback_commits_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.feedback_commits_id_seq OWNED BY public.feedback_commits.id;
CREATE TABLE public.job_changes (
    id integer NOT NULL,
    job_id text NOT NULL,
    state_before text,
    state_after text NOT NULL,
    reason text NOT NULL,
    worker text NOT NULL,
    at timestamp with time zone NOT NULL
);
CREATE SEQUENCE public.job_changes_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.job_changes_id_seq OWNED BY public.job_changes.id;
CREATE TABLE public.jobs (
    id text NOT NULL,
    submission_id integer NOT NULL,
    assignment text NOT NULL,
    attempt integer NOT NULL,
    may_lower boolean NOT NULL,
    state text NOT NULL,
    reason text NOT NULL,
    worker text NOT NULL,
    tries integer NOT NULL,
    created timestamp with time zone NOT NULL,
    updated timestamp with time zone NOT NULL,
    started timestamp with time zone,
    finished timestamp with time zone
);
CREATE TABLE public.ledger_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.losses (
    id integer NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    reason text NOT NULL,
    number integer NOT NULL,
    first timestamp with time zone NOT NULL,
    last timestamp with time zone NOT NULL
);
CREATE SEQUENCE public.losses_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.losses_id_seq OWNED BY public.losses.id;
CREATE TABLE public.own_commits (
    id integer NOT NULL,
    commit_sha text NOT NULL,
    what text NOT NULL,
    recorded timestamp with time zone NOT NULL
);
CREATE SEQUENCE public.own_commits_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.own_commits_id_seq OWNED BY public.own_commits.id;
CREATE TABLE public.push_times (
    id integer NOT NULL,
    push_id integer NOT NULL,
    received timestamp with time zone NOT NULL,
    source text NOT NULL,
    who text NOT NULL,
    why text NOT NULL,
    at timestamp with time zone NOT NULL
);
CREATE SEQUENCE public.push_times_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.push_times_id_seq OWNED BY public.push_times.id;
CREATE TABLE public.pushes (
    id integer NOT NULL,
    submission_id integer NOT NULL,
    host text NOT NULL,
    delivery_id text,
    ref text NOT NULL,
    before_sha text NOT NULL,
    sender text NOT NULL,
    payload_digest text NOT NULL,
    received timestamp with time zone NOT NULL,
    source text NOT NULL,
    "position" double precision NOT NULL,
    recorded timestamp with time zone NOT NULL
);
CREATE SEQUENCE public.pushes_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.pushes_id_seq OWNED BY public.pushes.id;
CREATE TABLE public.report_cases (
    report_id integer NOT NULL,
    "position" integer NOT NULL,
    name text NOT NULL,
    verdict text NOT NULL,
    points integer NOT NULL,
    max_points integer NOT NULL,
    message text NOT NULL,
    seconds double precision NOT NULL,
    cpu_seconds double precision NOT NULL,
    peak_bytes bigint NOT NULL
);
CREATE TABLE public.reports (
    id integer NOT NULL,
    job_id text NOT NULL,
    format integer NOT NULL,
    points integer NOT NULL,
    max_points integer NOT NULL,
    provenance json NOT NULL,
    digest text NOT NULL,
    recorded timestamp with time zone NOT NULL
);
CREATE SEQUENCE public.reports_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.reports_id_seq OWNED BY public.reports.id;
CREATE TABLE public.repositories (
    id integer NOT NULL,
    host text NOT NULL,
    owner text NOT NULL,
    name text NOT NULL,
    created timestamp with time zone NOT NULL
);
CREATE SEQUENCE public.repositories_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.repositories_id_seq OWNED BY public.repositories.id;
CREATE TABLE public.submissions (
    id integer NOT NULL,
    repository_id integer NOT NULL,
    commit_sha text NOT NULL,
    created timestamp with time zone NOT NULL
);
CREATE SEQUENCE public.submissions_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.submissions_id_seq OWNED BY public.submissions.id;
CREATE TABLE public.workers (
    executor text NOT NULL,
    origin text NOT NULL,
    queues text NOT NULL,
    version text NOT NULL,
    beats bigint NOT NULL,
    started timestamp with time zone NOT NULL,
    seen timestamp with time zone NOT NULL
);
ALTER TABLE ONLY public.audit_lines ALTER COLUMN id SET DEFAULT nextval('public.audit_lines_id_seq'::regclass);
ALTER TABLE ONLY public.feedback_commits ALTER COLUMN id SET DEFAULT nextval('public.feedback_commits_id_seq'::regclass);
ALTER TABLE ONLY public.job_changes ALTER COLUMN id SET DEFAULT nextval('public.job_changes_id_seq'::regclass);
ALTER TABLE ONLY public.losses ALTER COLUMN id SET DEFAULT nextval('public.losses_id_seq'::regclass);
ALTER TABLE ONLY public.own_commits ALTER COLUMN id SET DEFAULT nextval('public.own_commits_id_seq'::regclass);
ALTER TABLE ONLY public.push_times ALTER COLUMN id SET DEFAULT nextval('public.push_times_id_seq'::regclass);
ALTER TABLE ONLY public.pushes ALTER COLUMN id SET DEFAULT nextval('public.pushes_id_seq'::regclass);
ALTER TABLE ONLY public.reports ALTER COLUMN id SET DEFAULT nextval('public.reports_id_seq'::regclass);
ALTER TABLE ONLY public.repositories ALTER COLUMN id SET DEFAULT nextval('public.repositories_id_seq'::regclass);
ALTER TABLE ONLY public.submissions ALTER COLUMN id SET DEFAULT nextval('public.submissions_id_seq'::regclass);
INSERT INTO public.audit_lines VALUES (1, '2026-09-10 12:15:00+00', 'okafor', 'regrade', 'case 3 was wrong', 'a0', '{"lower":[true,1.5]}');
INSERT INTO public.feedback_commits VALUES (1, 'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0', 'score-feedback', '38fe69810b141fcc553dc3714f68b1ed6cf058cf', '2026-09-10 12:02:00+00', '');
INSERT INTO public.feedback_commits VALUES (2, 'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r2', 'score-feedback', '62175b9fb7aedeafe771e76ec95b5fe340fbf3b7', '2026-09-10 12:03:00+00', '');
INSERT INTO public.feedback_commits VALUES (3, 'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r3', 'score-feedback', 'bbf365a8ebc37b076f2e532c14a56822ba421c21', '2026-09-10 12:04:00+00', '');
INSERT INTO public.feedback_commits VALUES (4, 'grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1', 'score-feedback', '744e9c537a986fcd071cef8b967aef13bf4d83f4', '2026-09-10 12:10:00+00', '');
INSERT INTO public.job_changes VALUES (1, 'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0', NULL, 'queued', '', '', '2026-09-10 12:01:00+00');
INSERT INTO public.job_changes VALUES (2, 'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0', 'queued', 'running', '', 'host:1', '2026-09-10 12:02:00+00');
INSERT INTO public.job_changes VALUES (3, 'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0', 'running', 'final', '', '', '2026-09-10 12:02:00+00');
INSERT INTO public.job_changes VALUES (4, 'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r2', NULL, 'queued', '', '', '2026-09-10 12:02:00+00');
INSERT INTO public.job_changes VALUES (5, 'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r2', 'queued', 'running', '', 'host:1', '2026-09-10 12:03:00+00');
INSERT INTO public.job_changes VALUES (6, 'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r2', 'running', 'final', '', '', '2026-09-10 12:03:00+00');
INSERT INTO public.job_changes VALUES (7, 'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r3', NULL, 'queued', '', '', '2026-09-10 12:03:00+00');
INSERT INTO public.job_changes VALUES (8, 'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r3', 'queued', 'running', '', 'host:1', '2026-09-10 12:04:00+00');
INSERT INTO public.job_changes VALUES (9, 'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r3', 'running', 'final', '', '', '2026-09-10 12:04:00+00');
INSERT INTO public.job_changes VALUES (10, 'grade:git.uni.example/dls/a0-ann:ad782ecdac770fc6eb9a62e44f90873fb97fb26b:a0', NULL, 'queued', '', '', '2026-09-10 12:05:00+00');
INSERT INTO public.job_changes VALUES (11, 'grade:git.uni.example/dls/a0-ann:ad782ecdac770fc6eb9a62e44f90873fb97fb26b:a0', 'queued', 'running', '', 'host:1', '2026-09-10 12:06:00+00');
INSERT INTO public.job_changes VALUES (12, 'grade:git.uni.example/dls/a0-ann:ad782ecdac770fc6eb9a62e44f90873fb97fb26b:a0', 'running', 'failed', 'git host: 502', '', '2026-09-10 12:06:00+00');
INSERT INTO public.job_changes VALUES (13, 'grade:git.uni.example/dls/a0-ann:b802f384302cb24fbab0a44997e820bf2e8507bb:a0', NULL, 'queued', '', '', '2026-09-10 12:07:00+00');
INSERT INTO public.job_changes VALUES (14, 'grade:git.uni.example/dls/a0-ann:b802f384302cb24fbab0a44997e820bf2e8507bb:a0', 'queued', 'superseded', 'a newer push', '', '2026-09-10 12:07:00+00');
INSERT INTO public.job_changes VALUES (15, 'grade:git.uni.example/dls/a0-ann:9f8f7eec5dea5ac43738721939c120318cbff1df:a0', NULL, 'queued', '', '', '2026-09-10 12:08:00+00');
INSERT INTO public.job_changes VALUES (16, 'grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1', NULL, 'queued', '', '', '2026-09-10 12:09:00+00');
INSERT INTO public.job_changes VALUES (17, 'grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1', 'queued', 'running', '', 'host:1', '2026-09-10 12:10:00+00');
INSERT INTO public.job_changes VALUES (18, 'grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1', 'running', 'final', '', '', '2026-09-10 12:10:00+00');
INSERT INTO public.job_changes VALUES (19, 'grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0', NULL, 'queued', '', '', '2026-09-10 12:10:00+00');
INSERT INTO public.job_changes VALUES (20, 'grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0', 'queued', 'running', '', 'host:1', '2026-09-10 12:11:00+00');
INSERT INTO public.job_changes VALUES (21, 'grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0', 'running', 'dead', '3 tries', '', '2026-09-10 12:11:00+00');
INSERT INTO public.job_changes VALUES (22, 'grade:git.uni.example/dls/a0-eve:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0', NULL, 'queued', '', '', '2026-09-10 12:13:00+00');
INSERT INTO public.job_changes VALUES (23, 'grade:git.uni.example/dls/a0-eve:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0', 'queued', 'running', '', 'host:1', '2026-09-10 12:14:00+00');
INSERT INTO public.job_changes VALUES (24, 'grade:git.uni.example/dls/a0-eve:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1', NULL, 'queued', '', '', '2026-09-10 12:14:00+00');
INSERT INTO public.job_changes VALUES (25, 'grade:git.uni.example/dls/a0-eve:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1', 'queued', 'running', '', 'host:1', '2026-09-10 12:15:00+00');
INSERT INTO public.job_changes VALUES (26, 'grade:git.uni.example/dls/a0-eve:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1', 'running', 'final', 'late', '', '2026-09-10 12:15:00+00');
INSERT INTO public.jobs VALUES ('grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0', 1, 'a0', 1, false, 'final', '', 'host:1', 1, '2026-09-10 12:01:00+00', '2026-09-10 12:02:00+00', '2026-09-10 12:02:00+00', '2026-09-10 12:02:00+00');
INSERT INTO public.jobs VALUES ('grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r2', 1, 'a0', 2, false, 'final', '', 'host:1', 1, '2026-09-10 12:02:00+00', '2026-09-10 12:03:00+00', '2026-09-10 12:03:00+00', '2026-09-10 12:03:00+00');
INSERT INTO public.jobs VALUES ('grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r3', 1, 'a0', 3, true, 'final', '', 'host:1', 1, '2026-09-10 12:03:00+00', '2026-09-10 12:04:00+00', '2026-09-10 12:04:00+00', '2026-09-10 12:04:00+00');
INSERT INTO public.jobs VALUES ('grade:git.uni.example/dls/a0-ann:ad782ecdac770fc6eb9a62e44f90873fb97fb26b:a0', 2, 'a0', 1, false, 'failed', 'git host: 502', 'host:1', 1, '2026-09-10 12:05:00+00', '2026-09-10 12:06:00+00', '2026-09-10 12:06:00+00', '2026-09-10 12:06:00+00');
INSERT INTO public.jobs VALUES ('grade:git.uni.example/dls/a0-ann:b802f384302cb24fbab0a44997e820bf2e8507bb:a0', 3, 'a0', 1, false, 'superseded', 'a newer push', '', 0, '2026-09-10 12:07:00+00', '2026-09-10 12:07:00+00', NULL, '2026-09-10 12:07:00+00');
INSERT INTO public.jobs VALUES ('grade:git.uni.example/dls/a0-ann:9f8f7eec5dea5ac43738721939c120318cbff1df:a0', 4, 'a0', 1, false, 'queued', '', '', 0, '2026-09-10 12:08:00+00', '2026-09-10 12:08:00+00', NULL, NULL);
INSERT INTO public.jobs VALUES ('grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1', 5, 'a1', 1, false, 'final', '', 'host:1', 1, '2026-09-10 12:09:00+00', '2026-09-10 12:10:00+00', '2026-09-10 12:10:00+00', '2026-09-10 12:10:00+00');
INSERT INTO public.jobs VALUES ('grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0', 5, 'a0', 1, false, 'dead', '3 tries', 'host:1', 1, '2026-09-10 12:10:00+00', '2026-09-10 12:11:00+00', '2026-09-10 12:11:00+00', '2026-09-10 12:11:00+00');
INSERT INTO public.jobs VALUES ('grade:git.uni.example/dls/a0-eve:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0', 7, 'a0', 1, false, 'running', '', 'host:1', 1, '2026-09-10 12:13:00+00', '2026-09-10 12:14:00+00', '2026-09-10 12:14:00+00', NULL);
INSERT INTO public.jobs VALUES ('grade:git.uni.example/dls/a0-eve:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1', 7, 'a1', 1, false, 'final', 'late', 'host:1', 1, '2026-09-10 12:14:00+00', '2026-09-10 12:15:00+00', '2026-09-10 12:15:00+00', '2026-09-10 12:15:00+00');
INSERT INTO public.ledger_version VALUES ('r0004');
INSERT INTO public.losses VALUES (1, 'branch', 'git.uni.example/dls/a0-gus', 'pushed to try', 1, '2026-09-10 12:17:05+00', '2026-09-10 12:17:05+00');
INSERT INTO public.own_commits VALUES (1, 'f16ecba5a2d660c0a728d9cae2b4666e8cb8459c', 'starter of a0', '2026-09-10 12:16:05+00');
INSERT INTO public.push_times VALUES (1, 8, '2026-09-10 12:00:00+00', 'staff', 'okafor', 'her mail', '2026-09-10 12:16:05+00');
INSERT INTO public.pushes VALUES (1, 1, 'git.uni.example', 'd-1', 'refs/heads/main', '0000000000000000000000000000000000000000', 'ann', 'abababababababababababababababababababababababababababababababab', '2026-09-10 12:01:00+00', 'webhook', 1, '2026-09-10 12:01:00+00');
INSERT INTO public.pushes VALUES (2, 2, 'git.uni.example', 'd-2', 'refs/heads/main', '', 'ann', '', '2026-09-10 12:05:00+00', 'webhook', 2, '2026-09-10 12:05:00+00');
INSERT INTO public.pushes VALUES (3, 3, 'git.uni.example', NULL, 'refs/heads/main', 'ad782ecdac770fc6eb9a62e44f90873fb97fb26b', 'ünï‮\x00', '', '2026-09-10 12:07:00+00', 'webhook', 3, '2026-09-10 12:07:00+00');
INSERT INTO public.pushes VALUES (4, 4, 'git.uni.example', NULL, 'refs/heads/main', 'b802f384302cb24fbab0a44997e820bf2e8507bb', 'ann', '', '2026-09-10 12:08:00+00', 'webhook', 4, '2026-09-10 12:08:00+00');
INSERT INTO public.pushes VALUES (5, 5, 'git.uni.example', NULL, 'refs/heads/main', '0000000000000000000000000000000000000000', 'bob', '', '2026-09-10 12:00:00+00', 'webhook', 1, '2026-09-10 12:09:00+00');
INSERT INTO public.pushes VALUES (6, 6, 'git.uni.example', NULL, 'refs/heads/try', 'fe05bcdcdc4928012781a5f1a2a77cbb5398e106', 'bob', '', '2026-09-10 12:12:00+00', 'webhook', 2, '2026-09-10 12:12:00+00');
INSERT INTO public.pushes VALUES (7, 7, 'git.uni.example', NULL, 'refs/heads/main', '0000000000000000000000000000000000000000', 'eve', '', '2026-09-10 12:13:00+00', 'webhook', 1, '2026-09-10 12:13:00+00');
INSERT INTO public.pushes VALUES (8, 8, 'git.uni.example', NULL, 'refs/heads/main', '', 'eve', '', '2026-09-10 12:16:05+00', 'unknown', 2, '2026-09-10 12:16:05+00');
INSERT INTO public.pushes VALUES (9, 9, 'git.uni.example', NULL, 'refs/heads/main', '0000000000000000000000000000000000000000', 'fay', '', '2026-09-10 12:17:05+00', 'host', 1, '2026-09-10 12:17:05+00');
INSERT INTO public.report_cases VALUES (1, 0, 'Task0 - Case1', 'passed', 70, 70, '', 0.0123, 0, 1099511627776);
INSERT INTO public.report_cases VALUES (1, 1, 'Task0 - Case2', 'wrong', 0, 30, 'values differ: ‘1’ ≠ \u202e2', 1.5, 1.25, 0);
INSERT INTO public.report_cases VALUES (1, 2, 'Task0 - Case3', 'timeout', 0, 0, '', 10, 9.9, 0);
INSERT INTO public.report_cases VALUES (2, 0, 'Task0 - Case1', 'passed', 60, 60, '', 0.0123, 0, 1099511627776);
INSERT INTO public.report_cases VALUES (2, 1, 'Task0 - Case2', 'wrong', 0, 40, 'values differ: ‘1’ ≠ \u202e2', 1.5, 1.25, 0);
INSERT INTO public.report_cases VALUES (2, 2, 'Task0 - Case3', 'timeout', 0, 0, '', 10, 9.9, 0);
INSERT INTO public.report_cases VALUES (3, 0, 'Task0 - Case1', 'passed', 50, 50, '', 0.0123, 0, 1099511627776);
INSERT INTO public.report_cases VALUES (3, 1, 'Task0 - Case2', 'wrong', 0, 50, 'values differ: ‘1’ ≠ \u202e2', 1.5, 1.25, 0);
INSERT INTO public.report_cases VALUES (3, 2, 'Task0 - Case3', 'timeout', 0, 0, '', 10, 9.9, 0);
INSERT INTO public.report_cases VALUES (4, 0, 'Task0 - Case1', 'passed', 100, 100, '', 0.0123, 0, 1099511627776);
INSERT INTO public.report_cases VALUES (4, 1, 'Task0 - Case2', 'wrong', 0, 0, 'values differ: ‘1’ ≠ \u202e2', 1.5, 1.25, 0);
INSERT INTO public.report_cases VALUES (4, 2, 'Task0 - Case3', 'timeout', 0, 0, '', 10, 9.9, 0);
INSERT INTO public.reports VALUES (1, 'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0', 1, 70, 100, '{"commit":null,"versions":{"numpy":"2.0"},"x":0.1}', '2484f355fe32c760925f28ec57e1f2bddcc548ba550ef917e9eb4418da0eb23e', '2026-09-10 12:02:00+00');
INSERT INTO public.reports VALUES (2, 'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r2', 1, 60, 100, '{"commit":null,"versions":{"numpy":"2.0"},"x":0.1}', '720448e45339864ac3a3897b16fe65267bb0e6eee6d4368f13b92fea32b35a98', '2026-09-10 12:03:00+00');
INSERT INTO public.reports VALUES (3, 'grade:git.uni.example/dls/a0-ann:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a0:r3', 1, 50, 100, '{"commit":null,"versions":{"numpy":"2.0"},"x":0.1}', 'ff3cf3a5883d7d692606435a5dc53178a3d5f0eaf4f9a5952e0b859b3d673951', '2026-09-10 12:04:00+00');
INSERT INTO public.reports VALUES (4, 'grade:git.uni.example/dls/a0-bob:fe05bcdcdc4928012781a5f1a2a77cbb5398e106:a1', 1, 100, 100, '{"commit":null,"versions":{"numpy":"2.0"},"x":0.1}', '6fcb4fefa39f1cca221b3be8290d68311c4acabe6902b31be0b6c1ada7348fa4', '2026-09-10 12:10:00+00');
INSERT INTO public.repositories VALUES (1, 'git.uni.example', 'dls', 'a0-ann', '2026-09-10 12:01:00+00');
INSERT INTO public.repositories VALUES (5, 'git.uni.example', 'dls', 'a0-bob', '2026-09-10 12:09:00+00');
INSERT INTO public.repositories VALUES (7, 'git.uni.example', 'dls', 'a0-eve', '2026-09-10 12:13:00+00');
INSERT INTO public.repositories VALUES (9, 'git.uni.example', 'dls', 'a0-fay', '2026-09-10 12:17:05+00');
INSERT INTO public.submissions VALUES (1, 1, 'fe05bcdcdc4928012781a5f1a2a77cbb5398e106', '2026-09-10 12:01:00+00');
INSERT INTO public.submissions VALUES (2, 1, 'ad782ecdac770fc6eb9a62e44f90873fb97fb26b', '2026-09-10 12:05:00+00');
INSERT INTO public.submissions VALUES (3, 1, 'b802f384302cb24fbab0a44997e820bf2e8507bb', '2026-09-10 12:07:00+00');
INSERT INTO public.submissions VALUES (4, 1, '9f8f7eec5dea5ac43738721939c120318cbff1df', '2026-09-10 12:08:00+00');
INSERT INTO public.submissions VALUES (5, 5, 'fe05bcdcdc4928012781a5f1a2a77cbb5398e106', '2026-09-10 12:09:00+00');
INSERT INTO public.submissions VALUES (6, 5, 'ad782ecdac770fc6eb9a62e44f90873fb97fb26b', '2026-09-10 12:12:00+00');
INSERT INTO public.submissions VALUES (7, 7, 'fe05bcdcdc4928012781a5f1a2a77cbb5398e106', '2026-09-10 12:13:00+00');
INSERT INTO public.submissions VALUES (8, 7, '4db2c1df4610cd6c0da6b9197b066bfb4e9b9d00', '2026-09-10 12:16:05+00');
INSERT INTO public.submissions VALUES (9, 9, 'f16ecba5a2d660c0a728d9cae2b4666e8cb8459c', '2026-09-10 12:17:05+00');
INSERT INTO public.workers VALUES ('host:0', 'here', '["cpu"]', '1', 1, '2026-09-10 12:15:00+00', '2026-09-10 12:15:05+00');
SELECT pg_catalog.setval('public.audit_lines_id_seq', 1, true);
SELECT pg_catalog.setval('public.feedback_commits_id_seq', 4, true);
SELECT pg_catalog.setval('public.job_changes_id_seq', 26, true);
SELECT pg_catalog.setval('public.losses_id_seq', 1, true);
SELECT pg_catalog.setval('public.own_commits_id_seq', 1, true);
SELECT pg_catalog.setval('public.push_times_id_seq', 1, true);
SELECT pg_catalog.setval('public.pushes_id_seq', 9, true);
SELECT pg_catalog.setval('public.reports_id_seq', 4, true);
SELECT pg_catalog.setval('public.repositories_id_seq', 9, true);
SELECT pg_catalog.setval('public.submissions_id_seq', 9, true);
ALTER TABLE ONLY public.audit_lines
    ADD CONSTRAINT audit_lines_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.feedback_commits
    ADD CONSTRAINT feedback_commits_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.job_changes
    ADD CONSTRAINT job_changes_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.ledger_version
    ADD CONSTRAINT ledger_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.losses
    ADD CONSTRAINT losses_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.own_commits
    ADD CONSTRAINT own_commits_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.push_times
    ADD CONSTRAINT push_times_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.pushes
    ADD CONSTRAINT pushes_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.report_cases
    ADD CONSTRAINT report_cases_pkey PRIMARY KEY (report_id, "position");
ALTER TABLE ONLY public.reports
    ADD CONSTRAINT reports_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.repositories
    ADD CONSTRAINT repositories_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.submissions
    ADD CONSTRAINT submissions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.feedback_commits
    ADD CONSTRAINT uq_feedback_commits_commit UNIQUE (job_id, commit_sha);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT uq_jobs_attempt UNIQUE (submission_id, assignment, attempt);
ALTER TABLE ONLY public.losses
    ADD CONSTRAINT uq_losses_loss UNIQUE (kind, subject, reason);
ALTER TABLE ONLY public.own_commits
    ADD CONSTRAINT uq_own_commits_commit UNIQUE (commit_sha);
ALTER TABLE ONLY public.pushes
    ADD CONSTRAINT uq_pushes_delivery UNIQUE (host, delivery_id);
ALTER TABLE ONLY public.reports
    ADD CONSTRAINT uq_reports_job UNIQUE (job_id);
ALTER TABLE ONLY public.repositories
    ADD CONSTRAINT uq_repositories_name UNIQUE (host, owner, name);
ALTER TABLE ONLY public.submissions
    ADD CONSTRAINT uq_submissions_commit UNIQUE (repository_id, commit_sha);
ALTER TABLE ONLY public.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (executor);
CREATE INDEX ix_audit_lines_subject ON public.audit_lines USING btree (subject);
CREATE INDEX ix_job_changes_job ON public.job_changes USING btree (job_id);
CREATE INDEX ix_jobs_state ON public.jobs USING btree (state, assignment);
CREATE INDEX ix_push_times_push ON public.push_times USING btree (push_id);
CREATE INDEX ix_pushes_recorded ON public.pushes USING btree (recorded);
CREATE INDEX ix_pushes_submission ON public.pushes USING btree (submission_id);
CREATE TRIGGER audit_lines_no_delete BEFORE DELETE ON public.audit_lines FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER audit_lines_no_truncate BEFORE TRUNCATE ON public.audit_lines FOR EACH STATEMENT EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER audit_lines_no_update BEFORE UPDATE ON public.audit_lines FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER feedback_commits_no_delete BEFORE DELETE ON public.feedback_commits FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER feedback_commits_no_truncate BEFORE TRUNCATE ON public.feedback_commits FOR EACH STATEMENT EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER feedback_commits_no_update BEFORE UPDATE ON public.feedback_commits FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER job_changes_no_delete BEFORE DELETE ON public.job_changes FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER job_changes_no_truncate BEFORE TRUNCATE ON public.job_changes FOR EACH STATEMENT EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER job_changes_no_update BEFORE UPDATE ON public.job_changes FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER jobs_final BEFORE UPDATE ON public.jobs FOR EACH ROW WHEN ((old.state = 'final'::text)) EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER jobs_keep_name BEFORE UPDATE OF id, submission_id, assignment, attempt, may_lower, created ON public.jobs FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER jobs_no_delete BEFORE DELETE ON public.jobs FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER jobs_no_truncate BEFORE TRUNCATE ON public.jobs FOR EACH STATEMENT EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER own_commits_no_delete BEFORE DELETE ON public.own_commits FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER own_commits_no_truncate BEFORE TRUNCATE ON public.own_commits FOR EACH STATEMENT EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER own_commits_no_update BEFORE UPDATE ON public.own_commits FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER push_times_no_delete BEFORE DELETE ON public.push_times FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER push_times_no_truncate BEFORE TRUNCATE ON public.push_times FOR EACH STATEMENT EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER push_times_no_update BEFORE UPDATE ON public.push_times FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER pushes_no_delete BEFORE DELETE ON public.pushes FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER pushes_no_truncate BEFORE TRUNCATE ON public.pushes FOR EACH STATEMENT EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER pushes_no_update BEFORE UPDATE ON public.pushes FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER report_cases_no_delete BEFORE DELETE ON public.report_cases FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER report_cases_no_truncate BEFORE TRUNCATE ON public.report_cases FOR EACH STATEMENT EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER report_cases_no_update BEFORE UPDATE ON public.report_cases FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER reports_no_delete BEFORE DELETE ON public.reports FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER reports_no_truncate BEFORE TRUNCATE ON public.reports FOR EACH STATEMENT EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER reports_no_update BEFORE UPDATE ON public.reports FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER repositories_no_delete BEFORE DELETE ON public.repositories FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER repositories_no_truncate BEFORE TRUNCATE ON public.repositories FOR EACH STATEMENT EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER repositories_no_update BEFORE UPDATE ON public.repositories FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER submissions_no_delete BEFORE DELETE ON public.submissions FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER submissions_no_truncate BEFORE TRUNCATE ON public.submissions FOR EACH STATEMENT EXECUTE FUNCTION public.ledger_only_grows();
CREATE TRIGGER submissions_no_update BEFORE UPDATE ON public.submissions FOR EACH ROW EXECUTE FUNCTION public.ledger_only_grows();
ALTER TABLE ONLY public.feedback_commits
    ADD CONSTRAINT feedback_commits_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.jobs(id);
ALTER TABLE ONLY public.job_changes
    ADD CONSTRAINT job_changes_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.jobs(id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_submission_id_fkey FOREIGN KEY (submission_id) REFERENCES public.submissions(id);
ALTER TABLE ONLY public.push_times
    ADD CONSTRAINT push_times_push_id_fkey FOREIGN KEY (push_id) REFERENCES public.pushes(id);
ALTER TABLE ONLY public.pushes
    ADD CONSTRAINT pushes_submission_id_fkey FOREIGN KEY (submission_id) REFERENCES public.submissions(id);
ALTER TABLE ONLY public.report_cases
    ADD CONSTRAINT report_cases_report_id_fkey FOREIGN KEY (report_id) REFERENCES public.reports(id);
ALTER TABLE ONLY public.reports
    ADD CONSTRAINT reports_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.jobs(id);
ALTER TABLE ONLY public.submissions
    ADD CONSTRAINT submissions_repository_id_fkey FOREIGN KEY (repository_id) REFERENCES public.repositories(id);

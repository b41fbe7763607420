--
-- PostgreSQL database dump
--


-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: tidegate; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA tidegate;


--
-- Name: change_employees(); Type: FUNCTION; Schema: tidegate; Owner: -
--

CREATE FUNCTION tidegate.change_employees() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET "DateStyle" TO 'ISO, MDY'
    SET "IntervalStyle" TO 'postgres'
    SET extra_float_digits TO '1'
    SET bytea_output TO 'hex'
    SET standard_conforming_strings TO 'on'
    SET quote_all_identifiers TO 'off'
    SET transform_null_equals TO 'off'
    AS $$
-- Columns may be called as what plpgsql has: new, old, tg_op.
#variable_conflict use_column
begin
if tg_op = 'TRUNCATE' then
insert into tidegate.view_resets (store, change) values ('view_hires_by_quarter', nextval('tidegate.view_changes'));
return null;
end if;
if tg_op = 'INSERT' then
insert into tidegate."view_hires_by_quarter" (k1, k2, k3, n, s1, s2, s3, s4) select EXTRACT(YEAR FROM "tidegate.x2")::INTEGER as k1, "department_id" as k2, "job_id" as k3, count(*) as n, count(*) filter (where ("tidegate.x1" = 1)) as s1, count(*) filter (where ("tidegate.x1" = 2)) as s2, count(*) filter (where ("tidegate.x1" = 3)) as s3, count(*) filter (where ("tidegate.x1" = 4)) as s4 from (select *, EXTRACT(QUARTER FROM "tidegate.x2") as "tidegate.x1" from (select *, ("datetime" AT TIME ZONE 'UTC') as "tidegate.x2" from new_rows offset 0) as shared offset 0) as shared group by 1, 2, 3;
elsif tg_op = 'DELETE' then
insert into tidegate."view_hires_by_quarter" (k1, k2, k3, n, s1, s2, s3, s4) select k1, k2, k3, -n, -s1, -s2, -s3, -s4 from (select EXTRACT(YEAR FROM "tidegate.x2")::INTEGER as k1, "department_id" as k2, "job_id" as k3, count(*) as n, count(*) filter (where ("tidegate.x1" = 1)) as s1, count(*) filter (where ("tidegate.x1" = 2)) as s2, count(*) filter (where ("tidegate.x1" = 3)) as s3, count(*) filter (where ("tidegate.x1" = 4)) as s4 from (select *, EXTRACT(QUARTER FROM "tidegate.x2") as "tidegate.x1" from (select *, ("datetime" AT TIME ZONE 'UTC') as "tidegate.x2" from old_rows offset 0) as shared offset 0) as shared group by 1, 2, 3) as gone;
else
insert into tidegate."view_hires_by_quarter" (k1, k2, k3, n, s1, s2, s3, s4)
select k1, k2, k3, sum(n), sum(s1), sum(s2), sum(s3), sum(s4) from (select EXTRACT(YEAR FROM "tidegate.x2")::INTEGER as k1, "department_id" as k2, "job_id" as k3, count(*) as n, count(*) filter (where ("tidegate.x1" = 1)) as s1, count(*) filter (where ("tidegate.x1" = 2)) as s2, count(*) filter (where ("tidegate.x1" = 3)) as s3, count(*) filter (where ("tidegate.x1" = 4)) as s4 from (select *, EXTRACT(QUARTER FROM "tidegate.x2") as "tidegate.x1" from (select *, ("datetime" AT TIME ZONE 'UTC') as "tidegate.x2" from new_rows offset 0) as shared offset 0) as shared group by 1, 2, 3 union all select k1, k2, k3, -n, -s1, -s2, -s3, -s4 from (select EXTRACT(YEAR FROM "tidegate.x2")::INTEGER as k1, "department_id" as k2, "job_id" as k3, count(*) as n, count(*) filter (where ("tidegate.x1" = 1)) as s1, count(*) filter (where ("tidegate.x1" = 2)) as s2, count(*) filter (where ("tidegate.x1" = 3)) as s3, count(*) filter (where ("tidegate.x1" = 4)) as s4 from (select *, EXTRACT(QUARTER FROM "tidegate.x2") as "tidegate.x1" from (select *, ("datetime" AT TIME ZONE 'UTC') as "tidegate.x2" from old_rows offset 0) as shared offset 0) as shared group by 1, 2, 3) as gone) as change group by k1, k2, k3 having sum(n) <> 0 or sum(s1) <> 0 or sum(s2) <> 0 or sum(s3) <> 0 or sum(s4) <> 0;
end if;
return null;
end$$;


--
-- Name: refresh_view(text, boolean, boolean); Type: FUNCTION; Schema: tidegate; Owner: -
--

CREATE FUNCTION tidegate.refresh_view(view text, "concurrently" boolean, drop_indexes boolean) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    relation text;
    index text;
begin
    select format('%I.%I', views.schema, views.name) into relation
    from tidegate.views
    where views.name = refresh_view.view and views.kind = 'refreshed';
    if relation is null then
        raise exception 'there is no view % that is refreshed', quote_literal(refresh_view.view)
            using errcode = 'undefined_table';
    end if;
    if refresh_view.drop_indexes then
        for index in
            select indexrelid::regclass::text from pg_index where indrelid = to_regclass(relation) and indisunique
        loop
            execute format('drop index %s', index);
        end loop;
    end if;
    execute format(
        'refresh materialized view %s %s', case when refresh_view.concurrently then 'concurrently' else '' end, relation
    );
end;
$$;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: departments; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.departments (
    id integer NOT NULL,
    department text NOT NULL,
    _source bigint DEFAULT '-1'::integer NOT NULL,
    _line bigint DEFAULT '-1'::integer NOT NULL
);


--
-- Name: employees; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.employees (
    id integer NOT NULL,
    name text NOT NULL,
    datetime timestamp with time zone NOT NULL,
    department_id integer NOT NULL,
    job_id integer NOT NULL,
    boss integer,
    _source bigint DEFAULT '-1'::integer NOT NULL,
    _line bigint DEFAULT '-1'::integer NOT NULL
);


--
-- Name: jobs; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.jobs (
    id integer NOT NULL,
    job text NOT NULL,
    _source bigint DEFAULT '-1'::integer NOT NULL,
    _line bigint DEFAULT '-1'::integer NOT NULL
);


--
-- Name: view_changes; Type: SEQUENCE; Schema: tidegate; Owner: -
--

CREATE SEQUENCE tidegate.view_changes
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: view_hires_by_quarter; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.view_hires_by_quarter (
    k1 integer,
    k2 integer,
    k3 integer,
    n bigint,
    s1 bigint,
    s2 bigint,
    s3 bigint,
    s4 bigint,
    _change bigint DEFAULT nextval('tidegate.view_changes'::regclass) NOT NULL
);

ALTER TABLE ONLY tidegate.view_hires_by_quarter REPLICA IDENTITY FULL;


--
-- Name: view_resets; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.view_resets (
    store text NOT NULL,
    change bigint NOT NULL
);


--
-- Name: hires_by_quarter; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.hires_by_quarter AS
 SELECT "tidegate.store".k1 AS year,
    departments.department,
    jobs.job,
    (COALESCE(sum("tidegate.store".s1), (0)::numeric))::bigint AS q1,
    (COALESCE(sum("tidegate.store".s2), (0)::numeric))::bigint AS q2,
    (COALESCE(sum("tidegate.store".s3), (0)::numeric))::bigint AS q3,
    (COALESCE(sum("tidegate.store".s4), (0)::numeric))::bigint AS q4
   FROM ( SELECT view_hires_by_quarter.k1,
            view_hires_by_quarter.k2,
            view_hires_by_quarter.k3,
            sum(view_hires_by_quarter.n) AS n,
            sum(view_hires_by_quarter.s1) AS s1,
            sum(view_hires_by_quarter.s2) AS s2,
            sum(view_hires_by_quarter.s3) AS s3,
            sum(view_hires_by_quarter.s4) AS s4
           FROM tidegate.view_hires_by_quarter
          WHERE (view_hires_by_quarter._change > COALESCE(( SELECT max(view_resets.change) AS max
                   FROM tidegate.view_resets
                  WHERE (view_resets.store = 'view_hires_by_quarter'::text)), (0)::bigint))
          GROUP BY view_hires_by_quarter.k1, view_hires_by_quarter.k2, view_hires_by_quarter.k3
         HAVING (sum(view_hires_by_quarter.n) > (0)::numeric)) "tidegate.store",
    public.departments departments,
    public.jobs jobs
  WHERE ((departments.id = "tidegate.store".k2) AND (jobs.id = "tidegate.store".k3))
  GROUP BY "tidegate.store".k1, departments.department, jobs.job
  ORDER BY "tidegate.store".k1, (departments.department COLLATE "C"), (jobs.job COLLATE "C");


--
-- Name: dead_letters; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.dead_letters (
    source bigint NOT NULL,
    line bigint NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    dataset text NOT NULL,
    stage text NOT NULL,
    status text NOT NULL,
    text text,
    bytes text,
    length bigint,
    blake3 text,
    reasons jsonb NOT NULL,
    awaits jsonb,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    shape bigint,
    dropped jsonb,
    CONSTRAINT dead_letters_stage_check CHECK ((stage = ANY (ARRAY['source'::text, 'transform'::text, 'sink'::text]))),
    CONSTRAINT dead_letters_status_check CHECK ((status = ANY (ARRAY['rejected'::text, 'waiting'::text, 'claimed'::text, 'healed'::text, 'replayed'::text, 'discarded'::text])))
);


--
-- Name: generated_keys; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.generated_keys (
    dataset text NOT NULL,
    next bigint NOT NULL
);


--
-- Name: leases; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.leases (
    stage text NOT NULL,
    partition integer NOT NULL,
    owner uuid NOT NULL,
    host text NOT NULL,
    pid bigint NOT NULL,
    started_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT stage_leases_stage_check CHECK ((stage = ANY (ARRAY['source'::text, 'transform'::text, 'sink'::text])))
);


--
-- Name: ledger; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.ledger (
    source bigint NOT NULL,
    chunk bigint NOT NULL,
    accepted bytea DEFAULT '\x'::bytea NOT NULL,
    rejected bytea DEFAULT '\x'::bytea NOT NULL,
    waiting bytea DEFAULT '\x'::bytea NOT NULL,
    discarded bytea DEFAULT '\x'::bytea NOT NULL,
    accepted_count integer DEFAULT 0 NOT NULL,
    rejected_count integer DEFAULT 0 NOT NULL,
    waiting_count integer DEFAULT 0 NOT NULL,
    discarded_count integer DEFAULT 0 NOT NULL,
    inserted_count integer DEFAULT 0 NOT NULL,
    updated_count integer DEFAULT 0 NOT NULL,
    superseded_count integer DEFAULT 0 NOT NULL,
    uncounted_count integer DEFAULT 0 NOT NULL,
    repeated_count integer DEFAULT 0 NOT NULL,
    CONSTRAINT ledger_chunk_check CHECK ((chunk >= 0))
);
ALTER TABLE ONLY tidegate.ledger ALTER COLUMN accepted SET STORAGE EXTERNAL;
ALTER TABLE ONLY tidegate.ledger ALTER COLUMN rejected SET STORAGE EXTERNAL;
ALTER TABLE ONLY tidegate.ledger ALTER COLUMN waiting SET STORAGE EXTERNAL;
ALTER TABLE ONLY tidegate.ledger ALTER COLUMN discarded SET STORAGE EXTERNAL;


--
-- Name: members; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.members (
    stage text NOT NULL,
    owner uuid NOT NULL,
    host text NOT NULL,
    pid bigint NOT NULL,
    started_at timestamp with time zone NOT NULL,
    joined_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    pinned integer[],
    lag_records bigint,
    CONSTRAINT members_stage_check CHECK ((stage = ANY (ARRAY['source'::text, 'transform'::text, 'sink'::text])))
);


--
-- Name: migrations; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.migrations (
    version integer NOT NULL,
    name character varying(255),
    applied_on character varying(255),
    checksum character varying(255)
);


--
-- Name: move_items; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.move_items (
    job bigint NOT NULL,
    source bigint NOT NULL,
    line bigint NOT NULL
);


--
-- Name: move_jobs; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.move_jobs (
    job bigint NOT NULL,
    kind text NOT NULL,
    asked_by text NOT NULL,
    note text,
    filter jsonb NOT NULL,
    lines bigint NOT NULL,
    passed_over bigint DEFAULT 0 NOT NULL,
    rate double precision,
    due_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    asked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    done_at timestamp with time zone,
    cancelled_by text,
    CONSTRAINT move_jobs_kind_check CHECK ((kind = ANY (ARRAY['replay'::text, 'discard'::text]))),
    CONSTRAINT move_jobs_lines_check CHECK ((lines >= 0)),
    CONSTRAINT move_jobs_rate_check CHECK ((rate > (0)::double precision))
);


--
-- Name: move_jobs_job_seq; Type: SEQUENCE; Schema: tidegate; Owner: -
--

ALTER TABLE tidegate.move_jobs ALTER COLUMN job ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME tidegate.move_jobs_job_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: moves; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.moves (
    move bigint NOT NULL,
    source bigint NOT NULL,
    line bigint NOT NULL,
    kind text NOT NULL,
    job bigint,
    attempt integer NOT NULL,
    asked_by text NOT NULL,
    note text,
    status_before text NOT NULL,
    reasons_before jsonb NOT NULL,
    text_edited text,
    letter_before jsonb,
    asked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    done_at timestamp with time zone,
    outcome text,
    by_source bigint,
    by_line bigint,
    shape bigint,
    CONSTRAINT moves_check CHECK (((done_at IS NULL) = (outcome IS NULL))),
    CONSTRAINT moves_check1 CHECK (((text_edited IS NULL) = (letter_before IS NULL))),
    CONSTRAINT moves_kind_check CHECK ((kind = ANY (ARRAY['replay'::text, 'discard'::text]))),
    CONSTRAINT moves_outcome_check CHECK ((outcome = ANY (ARRAY['accepted'::text, 'superseded'::text, 'rejected'::text, 'waiting'::text, 'discarded'::text, 'passed_over'::text]))),
    CONSTRAINT moves_status_before_check CHECK ((status_before = ANY (ARRAY['rejected'::text, 'waiting'::text])))
);


--
-- Name: moves_move_seq; Type: SEQUENCE; Schema: tidegate; Owner: -
--

ALTER TABLE tidegate.moves ALTER COLUMN move ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME tidegate.moves_move_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: offsets; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.offsets (
    reader text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    next bigint NOT NULL,
    CONSTRAINT offsets_next_check CHECK ((next >= 0))
);


--
-- Name: pipeline; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.pipeline (
    name text NOT NULL,
    identity uuid DEFAULT gen_random_uuid() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    singleton boolean DEFAULT true NOT NULL,
    form text,
    CONSTRAINT pipeline_singleton_check CHECK (singleton)
);


--
-- Name: reloads; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.reloads (
    reload bigint NOT NULL,
    old_source bigint NOT NULL,
    asked_by text NOT NULL,
    asked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    state text DEFAULT 'asked'::text NOT NULL,
    error text,
    source bigint,
    entered_at timestamp with time zone,
    CONSTRAINT reloads_state_check CHECK ((state = ANY (ARRAY['asked'::text, 'entered'::text, 'failed'::text])))
);


--
-- Name: reloads_reload_seq; Type: SEQUENCE; Schema: tidegate; Owner: -
--

ALTER TABLE tidegate.reloads ALTER COLUMN reload ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME tidegate.reloads_reload_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: request_lines; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.request_lines (
    source bigint NOT NULL,
    lines bytea NOT NULL
);
ALTER TABLE ONLY tidegate.request_lines ALTER COLUMN lines SET STORAGE EXTERNAL;


--
-- Name: requests; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.requests (
    identity bytea NOT NULL,
    content bytea NOT NULL,
    sources bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    move bigint,
    job bigint,
    restore uuid,
    registered_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    reload bigint
);


--
-- Name: restores; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.restores (
    id uuid NOT NULL,
    backup text,
    files jsonb NOT NULL,
    asked_by text NOT NULL,
    asked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    state text DEFAULT 'asked'::text NOT NULL,
    error text,
    sources bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    entered_at timestamp with time zone,
    CONSTRAINT restores_state_check CHECK ((state = ANY (ARRAY['asked'::text, 'entered'::text, 'failed'::text])))
);


--
-- Name: shapes; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.shapes (
    shape bigint NOT NULL,
    dataset text NOT NULL,
    columns text[] NOT NULL,
    header boolean NOT NULL,
    delimiter text NOT NULL,
    quote text NOT NULL,
    null_text text,
    rules text NOT NULL
);


--
-- Name: shapes_shape_seq; Type: SEQUENCE; Schema: tidegate; Owner: -
--

ALTER TABLE tidegate.shapes ALTER COLUMN shape ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME tidegate.shapes_shape_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: sources; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.sources (
    source bigint NOT NULL,
    dataset text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    identity bytea NOT NULL,
    bytes bigint,
    lines bigint,
    registered_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    completed_at timestamp with time zone,
    content bytea,
    first_key bigint,
    shape bigint,
    fingerprint bytea,
    awaited boolean DEFAULT false NOT NULL,
    CONSTRAINT sources_kind_check CHECK ((kind = ANY (ARRAY['file'::text, 'upload'::text, 'request'::text, 'restore'::text]))),
    CONSTRAINT sources_lines_check CHECK ((lines >= 0)),
    CONSTRAINT sources_source_check CHECK ((source > 0))
);


--
-- Name: tokens; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.tokens (
    name text NOT NULL,
    role text NOT NULL,
    hash bytea NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone,
    CONSTRAINT tokens_role_check CHECK ((role = ANY (ARRAY['ingest'::text, 'read'::text, 'operate'::text])))
);


--
-- Name: view_stores; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.view_stores (
    name text NOT NULL,
    dataset text NOT NULL,
    spec jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: views; Type: TABLE; Schema: tidegate; Owner: -
--

CREATE TABLE tidegate.views (
    name text NOT NULL,
    schema text NOT NULL,
    kind text NOT NULL,
    definition text NOT NULL,
    query text NOT NULL,
    reads text[] NOT NULL,
    store text,
    "position" integer NOT NULL,
    refresh interval,
    refreshed_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT views_kind_check CHECK ((kind = ANY (ARRAY['incremental'::text, 'layered'::text, 'refreshed'::text])))
);


--
-- Data for Name: departments; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.departments VALUES (1, 'Supply', 1, 1);
INSERT INTO public.departments VALUES (2, 'Sales', 1, 2);
INSERT INTO public.departments VALUES (3, 'Legal', 1, 3);
INSERT INTO public.departments VALUES (4, 'IT', 4, 1);
INSERT INTO public.departments VALUES (5, 'Ops', 4, 2);


--
-- Data for Name: employees; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.employees VALUES (1, 'Ann', '2021-01-02 03:04:05+00', 3, 1, NULL, 3, 8);
INSERT INTO public.employees VALUES (2, 'Bob', '2021-04-05 00:00:00+00', 2, 2, 1, 3, 2);
INSERT INTO public.employees VALUES (3, 'Cy, the third', '2021-02-28 00:00:00+00', 1, 2, NULL, 3, 3);
INSERT INTO public.employees VALUES (20, 'Uma', '2021-08-01 00:00:00+00', 2, 1, NULL, 5, 1);


--
-- Data for Name: jobs; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.jobs VALUES (1, 'Engineer', 2, 1);
INSERT INTO public.jobs VALUES (2, 'Clerk', 2, 2);


--
-- Data for Name: dead_letters; Type: TABLE DATA; Schema: tidegate; Owner: -
--

INSERT INTO tidegate.dead_letters VALUES (2, 3, 0, 'jobs', 'transform', 'rejected', '3;A name that is too long', NULL, NULL, NULL, '[{"code": "too_long", "value": "A name that is too long", "column": "job", "message": "job has 23 characters, at most 12 are allowed"}]', NULL, '2026-11-30 16:08:10.512804+00', '2026-11-30 16:08:10.512805+00', 2, NULL);
INSERT INTO tidegate.dead_letters VALUES (3, 7, 0, 'employees', 'sink', 'waiting', '7,Flo,2021-09-01T00:00:00Z,1,1,99', NULL, NULL, NULL, '[{"code": "unknown_reference", "value": "99", "column": "boss", "message": "employees has no row ''99''"}]', '{"boss": "99"}', '2026-11-30 16:08:10.531298+00', '2026-11-30 16:08:10.531298+00', 4, NULL);
INSERT INTO tidegate.dead_letters VALUES (3, 5, 0, 'employees', 'transform', 'waiting', '5,"Di, or so",2021-07-01T00:00:00Z,7,1,', NULL, NULL, NULL, '[{"code": "unknown_reference", "value": "7", "column": "department_id", "message": "departments has no row ''7''"}]', '{"department_id": "7"}', '2026-11-30 16:08:10.531346+00', '2026-11-30 16:08:10.531346+00', 4, NULL);
INSERT INTO tidegate.dead_letters VALUES (3, 6, 0, 'employees', 'transform', 'waiting', '6,Ed,2021-08-01T00:00:00Z,1,4,', NULL, NULL, NULL, '[{"code": "unknown_reference", "value": "4", "column": "job_id", "message": "jobs has no row ''4''"}]', '{"job_id": "4"}', '2026-11-30 16:08:10.531353+00', '2026-11-30 16:08:10.531353+00', 4, NULL);
INSERT INTO tidegate.dead_letters VALUES (3, 4, 0, 'employees', 'transform', 'discarded', '4,,2021-02-03T00:00:00Z,1,2,', NULL, NULL, NULL, '[{"code": "missing_value", "value": "", "column": "name", "message": "name is required"}]', NULL, '2026-11-30 16:08:10.531291+00', '2026-11-30 16:08:10.684319+00', 4, NULL);
INSERT INTO tidegate.dead_letters VALUES (3, 3, 1, 'employees', 'transform', 'replayed', '3,"Cy, the third",2021-02-28T00:00:00Z,1,2,', NULL, NULL, NULL, '[{"code": "invalid_timestamp", "value": "2021-02-30T00:00:00Z", "column": "datetime", "message": "datetime is not a timestamp, YYYY-MM-DDTHH:MM:SSZ"}]', NULL, '2026-11-30 16:08:10.531258+00', '2026-11-30 16:08:21.399815+00', 4, NULL);
INSERT INTO tidegate.dead_letters VALUES (4, 3, 0, 'departments', 'transform', 'rejected', '6,', NULL, NULL, NULL, '[{"code": "missing_value", "value": "", "column": "department", "message": "department is required"}]', NULL, '2026-11-30 16:08:23.622683+00', '2026-11-30 16:08:23.622683+00', 1, NULL);
INSERT INTO tidegate.dead_letters VALUES (5, 2, 0, 'employees', 'transform', 'waiting', '21,Vic,2021-08-01T00:00:00Z,1,4,', NULL, NULL, NULL, '[{"code": "unknown_reference", "value": "4", "column": "job_id", "message": "jobs has no row ''4''"}]', '{"job_id": "4"}', '2026-11-30 16:08:23.639993+00', '2026-11-30 16:08:23.639993+00', 4, NULL);


--
-- Data for Name: generated_keys; Type: TABLE DATA; Schema: tidegate; Owner: -
--



--
-- Data for Name: leases; Type: TABLE DATA; Schema: tidegate; Owner: -
--

INSERT INTO tidegate.leases VALUES ('sink', 0, '675e786e-5c17-49fb-b8f0-f0111db7a619', 'example', 20584, '2026-11-30 16:08:45.222115+00', '2026-11-30 16:08:58.580779+00');
INSERT INTO tidegate.leases VALUES ('source', 0, '675e786e-5c17-49fb-b8f0-f0111db7a619', 'example', 20584, '2026-11-30 16:08:45.222115+00', '2026-11-30 16:08:58.580779+00');
INSERT INTO tidegate.leases VALUES ('transform', 0, '675e786e-5c17-49fb-b8f0-f0111db7a619', 'example', 20584, '2026-11-30 16:08:45.222115+00', '2026-11-30 16:08:58.580779+00');


--
-- Data for Name: ledger; Type: TABLE DATA; Schema: tidegate; Owner: -
--

INSERT INTO tidegate.ledger VALUES (1, 0, '\x3a300000010000000000020010000000000001000200', '\x', '\x', '\x', 3, 0, 0, 0, 3, 0, 0, 0, 0);
INSERT INTO tidegate.ledger VALUES (2, 0, '\x3a30000001000000000001001000000000000100', '\x3a3000000100000000000000100000000200', '\x', '\x', 2, 1, 0, 0, 2, 0, 0, 0, 0);
INSERT INTO tidegate.ledger VALUES (3, 0, '\x3a3000000100000000000300100000000000010002000700', '\x', '\x3a300000010000000000020010000000040005000600', '\x3a3000000100000000000000100000000300', 4, 0, 3, 1, 3, 0, 1, 0, 1);
INSERT INTO tidegate.ledger VALUES (4, 0, '\x3a30000001000000000001001000000000000100', '\x3a3000000100000000000000100000000200', '\x', '\x', 2, 1, 0, 0, 2, 0, 0, 0, 0);
INSERT INTO tidegate.ledger VALUES (5, 0, '\x3a3000000100000000000000100000000000', '\x', '\x3a3000000100000000000000100000000100', '\x', 1, 0, 1, 0, 1, 0, 0, 0, 0);


--
-- Data for Name: members; Type: TABLE DATA; Schema: tidegate; Owner: -
--



--
-- Data for Name: migrations; Type: TABLE DATA; Schema: tidegate; Owner: -
--

INSERT INTO tidegate.migrations VALUES (1, 'registry_ledger_dead_letters', '2026-11-30T16:08:10.317636902Z', '8451910087619426162');
INSERT INTO tidegate.migrations VALUES (2, 'views_of_one_query', '2026-11-30T16:08:10.342779886Z', '10911973395128565167');
INSERT INTO tidegate.migrations VALUES (3, 'stages_that_share_partitions', '2026-11-30T16:08:10.351164536Z', '14928615304588427275');
INSERT INTO tidegate.migrations VALUES (4, 'requests', '2026-11-30T16:08:10.359546373Z', '10765441956336003744');
INSERT INTO tidegate.migrations VALUES (5, 'moves', '2026-11-30T16:08:10.366330855Z', '8941997954775793992');
INSERT INTO tidegate.migrations VALUES (6, 'restores', '2026-11-30T16:08:10.375225217Z', '17041716408377749868');
INSERT INTO tidegate.migrations VALUES (7, 'shapes', '2026-11-30T16:08:10.379950158Z', '7058840798407700302');
INSERT INTO tidegate.migrations VALUES (8, 'deliveries', '2026-11-30T16:08:10.390575038Z', '14497966200861304954');
INSERT INTO tidegate.migrations VALUES (9, 'effects_of_accepted_lines', '2026-11-30T16:08:10.39781041Z', '7238383635690043004');
INSERT INTO tidegate.migrations VALUES (10, 'replica_identity_and_refresh', '2026-11-30T16:08:10.399329878Z', '16391159919857432930');


--
-- Data for Name: move_items; Type: TABLE DATA; Schema: tidegate; Owner: -
--



--
-- Data for Name: move_jobs; Type: TABLE DATA; Schema: tidegate; Owner: -
--



--
-- Data for Name: moves; Type: TABLE DATA; Schema: tidegate; Owner: -
--

INSERT INTO tidegate.moves VALUES (1, 3, 4, 'discard', NULL, 0, 'root', 'never complete', 'rejected', '[{"code": "missing_value", "value": "", "column": "name", "message": "name is required"}]', NULL, NULL, '2026-11-30 16:08:10.576833+00', '2026-11-30 16:08:10.684649+00', 'discarded', NULL, NULL, NULL);
INSERT INTO tidegate.moves VALUES (2, 3, 3, 'replay', NULL, 1, 'root', NULL, 'rejected', '[{"code": "invalid_timestamp", "value": "2021-02-30T00:00:00Z", "column": "datetime", "message": "datetime is not a timestamp, YYYY-MM-DDTHH:MM:SSZ"}]', '3,"Cy, the third",2021-02-28T00:00:00Z,1,2,', '{"text": "3,Cy,2021-02-30T00:00:00Z,1,2,", "bytes": null, "shape": 4, "stage": "transform", "blake3": null, "length": null}', '2026-11-30 16:08:21.257862+00', '2026-11-30 16:08:21.400155+00', 'accepted', NULL, NULL, 4);


--
-- Data for Name: offsets; Type: TABLE DATA; Schema: tidegate; Owner: -
--

INSERT INTO tidegate.offsets VALUES ('sink', 'company-accepted-departments', 0, 5);
INSERT INTO tidegate.offsets VALUES ('sink', 'company-accepted-jobs', 0, 2);
INSERT INTO tidegate.offsets VALUES ('sink', 'company-accepted-employees', 0, 5);
INSERT INTO tidegate.offsets VALUES ('sink', 'company-dead-letters', 0, 7);
INSERT INTO tidegate.offsets VALUES ('transform', 'company-raw-departments', 0, 6);
INSERT INTO tidegate.offsets VALUES ('transform', 'company-raw-jobs', 0, 3);
INSERT INTO tidegate.offsets VALUES ('transform', 'company-raw-employees', 0, 14);


--
-- Data for Name: pipeline; Type: TABLE DATA; Schema: tidegate; Owner: -
--

INSERT INTO tidegate.pipeline VALUES ('company', '307f32fd-72ab-475e-91f8-da633e31fe21', '2026-11-30 16:08:10.400793+00', true, NULL);


--
-- Data for Name: reloads; Type: TABLE DATA; Schema: tidegate; Owner: -
--



--
-- Data for Name: request_lines; Type: TABLE DATA; Schema: tidegate; Owner: -
--



--
-- Data for Name: requests; Type: TABLE DATA; Schema: tidegate; Owner: -
--

INSERT INTO tidegate.requests VALUES ('\xe77aa874738effb4107f5ffdd45aa0879e081b4e2d5be4a98290ad41ba0ee9fe', '\x06d956231dcb7feb754939fc2dead7fe05d55369675f623eda032e362f6091e2', '{4}', NULL, NULL, NULL, '2026-11-30 16:08:23.587114+00', NULL);
INSERT INTO tidegate.requests VALUES ('\x9c8ca5088b3c723b24c6059632b1c52ce076f446e7147fe16f7436bdc2e1cd8c', '\x6b1243bcfeacaebd608393a54206b7806466aecb224b4c5f2f7d9dcfa8605fd0', '{5}', NULL, NULL, NULL, '2026-11-30 16:08:23.607136+00', NULL);


--
-- Data for Name: restores; Type: TABLE DATA; Schema: tidegate; Owner: -
--



--
-- Data for Name: shapes; Type: TABLE DATA; Schema: tidegate; Owner: -
--

INSERT INTO tidegate.shapes VALUES (1, 'departments', '{id,department}', false, ',', '"', NULL, 'b0be4c6f0450a74f');
INSERT INTO tidegate.shapes VALUES (2, 'jobs', '{id,job}', false, ';', '"', NULL, '4c9628e32b0d13ac');
INSERT INTO tidegate.shapes VALUES (3, 'jobs', '{job,id}', true, ';', '"', NULL, '4c9628e32b0d13ac');
INSERT INTO tidegate.shapes VALUES (4, 'employees', '{id,name,datetime,department_id,job_id,boss}', false, ',', '"', NULL, 'f51cdf378c5da582');


--
-- Data for Name: sources; Type: TABLE DATA; Schema: tidegate; Owner: -
--

INSERT INTO tidegate.sources VALUES (1, 'departments', 'file', 'departments.csv', '\x806f05d44820170923953ebeea2c17b1645caf7e1ccedc03339633c0dd0a0068', 25, 3, '2026-11-30 16:08:10.474916+00', '2026-11-30 16:08:10.515294+00', '\xd51b5c9bbc51d5f75ebb937c01b20fefd9aca276c6e405ac3b7bbe266713c640', NULL, 1, '\x806f05d44820170923953ebeea2c17b1645caf7e1ccedc03339633c0dd0a0068', false);
INSERT INTO tidegate.sources VALUES (2, 'jobs', 'file', 'jobs.csv', '\xf4b2a1d72a636f6346ebbe24adb3bb31e94f39ef6997f4f8bdff134e520f24ce', 52, 3, '2026-11-30 16:08:10.489842+00', '2026-11-30 16:08:10.515374+00', '\x8ea77bb7de4ddfe4e9e4b06789695e6c33b4039b7cfbe29ddd4d4753628c1265', NULL, 3, '\xf4b2a1d72a636f6346ebbe24adb3bb31e94f39ef6997f4f8bdff134e520f24ce', false);
INSERT INTO tidegate.sources VALUES (3, 'employees', 'file', 'employees.csv', '\x5bd7fd5bc1f26ae673be3a6d78d011bd8d15f858c26bfc6703948d12ec54bae8', 262, 8, '2026-11-30 16:08:10.508146+00', '2026-11-30 16:08:10.547608+00', '\x6fe962a9c8567db7cd853c5dd3ccad6fce0addf9351b3b7a78ce06e852991fd6', NULL, 4, '\x5bd7fd5bc1f26ae673be3a6d78d011bd8d15f858c26bfc6703948d12ec54bae8', false);
INSERT INTO tidegate.sources VALUES (4, 'departments', 'request', 'monday-1', '\xd03c252628735c18a4e06cb62c45d6dac98fca18c36271e55a017ffe7b882324', 14, 3, '2026-11-30 16:08:23.586606+00', '2026-11-30 16:08:23.645255+00', '\x06d956231dcb7feb754939fc2dead7fe05d55369675f623eda032e362f6091e2', NULL, 1, NULL, false);
INSERT INTO tidegate.sources VALUES (5, 'employees', 'upload', 'upload.csv', '\xde111acd85556ba000b8242e4f00ffbea02eb6a62c79399dfdf943327ac2bc70', 66, 2, '2026-11-30 16:08:23.606543+00', '2026-11-30 16:08:23.645661+00', '\x6b1243bcfeacaebd608393a54206b7806466aecb224b4c5f2f7d9dcfa8605fd0', NULL, 4, NULL, false);
INSERT INTO tidegate.sources VALUES (6, 'employees', 'file', 'employees_2.csv', '\xc02d73ecfab0496cbbdb456dafcde44505cd5544515fb29f74f33ee0186ffe21', 124, 4, '2026-11-30 16:08:48.469611+00', NULL, '\x15c27297aaafb7d359b87822a056d38b7e5977e9c38a3b495e7ffebaff4d8a63', NULL, 4, '\xc02d73ecfab0496cbbdb456dafcde44505cd5544515fb29f74f33ee0186ffe21', false);


--
-- Data for Name: tokens; Type: TABLE DATA; Schema: tidegate; Owner: -
--



--
-- Data for Name: view_hires_by_quarter; Type: TABLE DATA; Schema: tidegate; Owner: -
--

INSERT INTO tidegate.view_hires_by_quarter VALUES (2021, 2, 2, 1, 0, 1, 0, 0, 1);
INSERT INTO tidegate.view_hires_by_quarter VALUES (2021, 3, 1, 1, 1, 0, 0, 0, 2);
INSERT INTO tidegate.view_hires_by_quarter VALUES (2021, 1, 2, 1, 1, 0, 0, 0, 3);
INSERT INTO tidegate.view_hires_by_quarter VALUES (2021, 2, 1, 1, 0, 0, 1, 0, 4);


--
-- Data for Name: view_resets; Type: TABLE DATA; Schema: tidegate; Owner: -
--



--
-- Data for Name: view_stores; Type: TABLE DATA; Schema: tidegate; Owner: -
--

INSERT INTO tidegate.view_stores VALUES ('view_hires_by_quarter', 'employees', '{"keys": ["EXTRACT(YEAR FROM (\"datetime\" AT TIME ZONE ''UTC''))::INTEGER", "\"department_id\"", "\"job_id\""], "sums": [{"sql": "count(*) filter (where (EXTRACT(QUARTER FROM (\"datetime\" AT TIME ZONE ''UTC'')) = 1))", "is_numeric": false}, {"sql": "count(*) filter (where (EXTRACT(QUARTER FROM (\"datetime\" AT TIME ZONE ''UTC'')) = 2))", "is_numeric": false}, {"sql": "count(*) filter (where (EXTRACT(QUARTER FROM (\"datetime\" AT TIME ZONE ''UTC'')) = 3))", "is_numeric": false}, {"sql": "count(*) filter (where (EXTRACT(QUARTER FROM (\"datetime\" AT TIME ZONE ''UTC'')) = 4))", "is_numeric": false}], "columns": {"job_id": "integer", "datetime": "timestamp with time zone", "department_id": "integer"}, "dataset": "employees", "key_types": ["integer", "integer", "integer"], "shareable": ["(\"datetime\" AT TIME ZONE ''UTC'')", "EXTRACT(QUARTER FROM (\"datetime\" AT TIME ZONE ''UTC''))", "EXTRACT(YEAR FROM (\"datetime\" AT TIME ZONE ''UTC''))"], "conditions": []}', '2026-11-30 16:08:45.24815+00');


--
-- Data for Name: views; Type: TABLE DATA; Schema: tidegate; Owner: -
--

INSERT INTO tidegate.views VALUES ('hires_by_quarter', 'public', 'incremental', '-- Hires per department and job, by quarter of the year, in UTC.
select
    extract(year from datetime at time zone ''UTC'')::integer as year,
    department,
    job,
    count(*) filter (where extract(quarter from datetime at time zone ''UTC'') = 1) as q1,
    count(*) filter (where extract(quarter from datetime at time zone ''UTC'') = 2) as q2,
    count(*) filter (where extract(quarter from datetime at time zone ''UTC'') = 3) as q3,
    count(*) filter (where extract(quarter from datetime at time zone ''UTC'') = 4) as q4
from employees
join departments on departments.id = department_id
join jobs on jobs.id = job_id
group by year, department, job
order by year, department collate "C", job collate "C"
', 'select
    ("tidegate.store".k1) as "year",
    ("departments"."department") as "department",
    ("jobs"."job") as "job",
    (coalesce(sum("tidegate.store".s1), 0)::bigint) as "q1",
    (coalesce(sum("tidegate.store".s2), 0)::bigint) as "q2",
    (coalesce(sum("tidegate.store".s3), 0)::bigint) as "q3",
    (coalesce(sum("tidegate.store".s4), 0)::bigint) as "q4"
from (select k1 as k1, k2 as k2, k3 as k3, sum(n) as n, sum(s1) as s1, sum(s2) as s2, sum(s3) as s3, sum(s4) as s4 from tidegate."view_hires_by_quarter" where _change > coalesce((select max(change) from tidegate.view_resets where store = ''view_hires_by_quarter''), 0) group by k1, k2, k3 having sum(n) > 0) as "tidegate.store",
    departments as "departments",
    jobs as "jobs"
where ("departments"."id" = "tidegate.store".k2) and ("jobs"."id" = "tidegate.store".k3)
group by "tidegate.store".k1, "departments"."department", "jobs"."job"
order by "year", ("departments"."department") COLLATE "C", ("jobs"."job") COLLATE "C"', '{}', 'view_hires_by_quarter', 0, NULL, NULL, '2026-11-30 16:08:10.408802+00');


--
-- Name: move_jobs_job_seq; Type: SEQUENCE SET; Schema: tidegate; Owner: -
--

SELECT pg_catalog.setval('tidegate.move_jobs_job_seq', 1, false);


--
-- Name: moves_move_seq; Type: SEQUENCE SET; Schema: tidegate; Owner: -
--

SELECT pg_catalog.setval('tidegate.moves_move_seq', 2, true);


--
-- Name: reloads_reload_seq; Type: SEQUENCE SET; Schema: tidegate; Owner: -
--

SELECT pg_catalog.setval('tidegate.reloads_reload_seq', 1, false);


--
-- Name: shapes_shape_seq; Type: SEQUENCE SET; Schema: tidegate; Owner: -
--

SELECT pg_catalog.setval('tidegate.shapes_shape_seq', 4, true);


--
-- Name: view_changes; Type: SEQUENCE SET; Schema: tidegate; Owner: -
--

SELECT pg_catalog.setval('tidegate.view_changes', 4, true);


--
-- Name: departments departments_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.departments
    ADD CONSTRAINT departments_pkey PRIMARY KEY (id);


--
-- Name: employees employees_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.employees
    ADD CONSTRAINT employees_pkey PRIMARY KEY (id);


--
-- Name: jobs jobs_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);


--
-- Name: dead_letters dead_letters_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.dead_letters
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY (source, line);


--
-- Name: generated_keys generated_keys_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.generated_keys
    ADD CONSTRAINT generated_keys_pkey PRIMARY KEY (dataset);


--
-- Name: leases leases_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (stage, partition);


--
-- Name: ledger ledger_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.ledger
    ADD CONSTRAINT ledger_pkey PRIMARY KEY (source, chunk);


--
-- Name: members members_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.members
    ADD CONSTRAINT members_pkey PRIMARY KEY (stage, owner);


--
-- Name: migrations migrations_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (version);


--
-- Name: move_items move_items_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.move_items
    ADD CONSTRAINT move_items_pkey PRIMARY KEY (job, source, line);


--
-- Name: move_jobs move_jobs_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.move_jobs
    ADD CONSTRAINT move_jobs_pkey PRIMARY KEY (job);


--
-- Name: moves moves_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.moves
    ADD CONSTRAINT moves_pkey PRIMARY KEY (move);


--
-- Name: offsets offsets_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.offsets
    ADD CONSTRAINT offsets_pkey PRIMARY KEY (reader, topic, partition);


--
-- Name: pipeline pipeline_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.pipeline
    ADD CONSTRAINT pipeline_pkey PRIMARY KEY (singleton);


--
-- Name: reloads reloads_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.reloads
    ADD CONSTRAINT reloads_pkey PRIMARY KEY (reload);


--
-- Name: reloads reloads_source_key; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.reloads
    ADD CONSTRAINT reloads_source_key UNIQUE (source);


--
-- Name: request_lines request_lines_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.request_lines
    ADD CONSTRAINT request_lines_pkey PRIMARY KEY (source);


--
-- Name: requests requests_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.requests
    ADD CONSTRAINT requests_pkey PRIMARY KEY (identity);


--
-- Name: restores restores_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.restores
    ADD CONSTRAINT restores_pkey PRIMARY KEY (id);


--
-- Name: shapes shapes_dataset_columns_header_delimiter_quote_null_text_rul_key; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.shapes
    ADD CONSTRAINT shapes_dataset_columns_header_delimiter_quote_null_text_rul_key UNIQUE NULLS NOT DISTINCT (dataset, columns, header, delimiter, quote, null_text, rules);


--
-- Name: shapes shapes_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.shapes
    ADD CONSTRAINT shapes_pkey PRIMARY KEY (shape);


--
-- Name: sources sources_identity_key; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.sources
    ADD CONSTRAINT sources_identity_key UNIQUE (identity);


--
-- Name: sources sources_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.sources
    ADD CONSTRAINT sources_pkey PRIMARY KEY (source);


--
-- Name: tokens tokens_hash_key; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.tokens
    ADD CONSTRAINT tokens_hash_key UNIQUE (hash);


--
-- Name: tokens tokens_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.tokens
    ADD CONSTRAINT tokens_pkey PRIMARY KEY (name);


--
-- Name: view_resets view_resets_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.view_resets
    ADD CONSTRAINT view_resets_pkey PRIMARY KEY (store, change);


--
-- Name: view_stores view_stores_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.view_stores
    ADD CONSTRAINT view_stores_pkey PRIMARY KEY (name);


--
-- Name: views views_pkey; Type: CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.views
    ADD CONSTRAINT views_pkey PRIMARY KEY (name);


--
-- Name: dead_letters_waiting; Type: INDEX; Schema: tidegate; Owner: -
--

CREATE INDEX dead_letters_waiting ON tidegate.dead_letters USING btree (dataset, source, line) WHERE (status = 'waiting'::text);


--
-- Name: dead_letters_without_shape; Type: INDEX; Schema: tidegate; Owner: -
--

CREATE INDEX dead_letters_without_shape ON tidegate.dead_letters USING btree (source, line) WHERE (shape IS NULL);


--
-- Name: move_jobs_open; Type: INDEX; Schema: tidegate; Owner: -
--

CREATE INDEX move_jobs_open ON tidegate.move_jobs USING btree (due_at) WHERE (done_at IS NULL);


--
-- Name: moves_of_job; Type: INDEX; Schema: tidegate; Owner: -
--

CREATE INDEX moves_of_job ON tidegate.moves USING btree (job) WHERE (job IS NOT NULL);


--
-- Name: moves_of_line; Type: INDEX; Schema: tidegate; Owner: -
--

CREATE INDEX moves_of_line ON tidegate.moves USING btree (source, line, move);


--
-- Name: moves_open; Type: INDEX; Schema: tidegate; Owner: -
--

CREATE UNIQUE INDEX moves_open ON tidegate.moves USING btree (source, line) WHERE (done_at IS NULL);


--
-- Name: moves_open_by_kind; Type: INDEX; Schema: tidegate; Owner: -
--

CREATE INDEX moves_open_by_kind ON tidegate.moves USING btree (kind, move) WHERE (done_at IS NULL);


--
-- Name: reloads_open; Type: INDEX; Schema: tidegate; Owner: -
--

CREATE INDEX reloads_open ON tidegate.reloads USING btree (reload) WHERE (state = 'asked'::text);


--
-- Name: restores_asked_at_idx; Type: INDEX; Schema: tidegate; Owner: -
--

CREATE INDEX restores_asked_at_idx ON tidegate.restores USING btree (asked_at) WHERE (state = 'asked'::text);


--
-- Name: sources_awaited; Type: INDEX; Schema: tidegate; Owner: -
--

CREATE INDEX sources_awaited ON tidegate.sources USING btree (source) WHERE (awaited AND (completed_at IS NULL));


--
-- Name: sources_of_files; Type: INDEX; Schema: tidegate; Owner: -
--

CREATE INDEX sources_of_files ON tidegate.sources USING btree (source) WHERE (kind = 'file'::text);


--
-- Name: sources_of_names; Type: INDEX; Schema: tidegate; Owner: -
--

CREATE INDEX sources_of_names ON tidegate.sources USING btree (dataset, name, source) WHERE (kind = 'file'::text);


--
-- Name: sources_source_idx; Type: INDEX; Schema: tidegate; Owner: -
--

CREATE INDEX sources_source_idx ON tidegate.sources USING btree (source) WHERE (completed_at IS NULL);


--
-- Name: sources_without_shape; Type: INDEX; Schema: tidegate; Owner: -
--

CREATE INDEX sources_without_shape ON tidegate.sources USING btree (source) WHERE (shape IS NULL);


--
-- Name: employees tidegate_delete; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER tidegate_delete AFTER DELETE ON public.employees REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION tidegate.change_employees();


--
-- Name: employees tidegate_insert; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER tidegate_insert AFTER INSERT ON public.employees REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tidegate.change_employees();


--
-- Name: employees tidegate_truncate; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER tidegate_truncate AFTER TRUNCATE ON public.employees FOR EACH STATEMENT EXECUTE FUNCTION tidegate.change_employees();


--
-- Name: employees tidegate_update; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER tidegate_update AFTER UPDATE ON public.employees REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tidegate.change_employees();


--
-- Name: employees employees_boss_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.employees
    ADD CONSTRAINT employees_boss_fkey FOREIGN KEY (boss) REFERENCES public.employees(id);


--
-- Name: employees employees_department_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.employees
    ADD CONSTRAINT employees_department_id_fkey FOREIGN KEY (department_id) REFERENCES public.departments(id);


--
-- Name: employees employees_job_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.employees
    ADD CONSTRAINT employees_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.jobs(id);


--
-- Name: ledger ledger_source_fkey; Type: FK CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.ledger
    ADD CONSTRAINT ledger_source_fkey FOREIGN KEY (source) REFERENCES tidegate.sources(source);


--
-- Name: move_items move_items_job_fkey; Type: FK CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.move_items
    ADD CONSTRAINT move_items_job_fkey FOREIGN KEY (job) REFERENCES tidegate.move_jobs(job);


--
-- Name: moves moves_job_fkey; Type: FK CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.moves
    ADD CONSTRAINT moves_job_fkey FOREIGN KEY (job) REFERENCES tidegate.move_jobs(job);


--
-- Name: request_lines request_lines_source_fkey; Type: FK CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.request_lines
    ADD CONSTRAINT request_lines_source_fkey FOREIGN KEY (source) REFERENCES tidegate.sources(source);


--
-- Name: sources sources_shape_fkey; Type: FK CONSTRAINT; Schema: tidegate; Owner: -
--

ALTER TABLE ONLY tidegate.sources
    ADD CONSTRAINT sources_shape_fkey FOREIGN KEY (shape) REFERENCES tidegate.shapes(shape);


--
-- PostgreSQL database dump complete
--



-- The transform of the Tidegate pipeline company, for Arroyo. Of each record exactly one of a dataset's two
-- functions gives a value, and neither does of a record that is not Tidegate's. References are not
-- decided here: the sink decides them.

create table raw_departments (value text not null) with (
    connector = 'fluvio',
    endpoint = 'sc:9003',
    topic = 'company-raw-departments',
    type = 'source',
    'source.offset' = 'earliest',
    format = 'raw_string'
);

create table accepted_departments (value text) with (
    connector = 'fluvio',
    endpoint = 'sc:9003',
    topic = 'company-accepted-departments',
    type = 'sink',
    format = 'raw_string'
);

create table raw_jobs (value text not null) with (
    connector = 'fluvio',
    endpoint = 'sc:9003',
    topic = 'company-raw-jobs',
    type = 'source',
    'source.offset' = 'earliest',
    format = 'raw_string'
);

create table accepted_jobs (value text) with (
    connector = 'fluvio',
    endpoint = 'sc:9003',
    topic = 'company-accepted-jobs',
    type = 'sink',
    format = 'raw_string'
);

create table raw_hired_employees (value text not null) with (
    connector = 'fluvio',
    endpoint = 'sc:9003',
    topic = 'company-raw-hired-employees',
    type = 'source',
    'source.offset' = 'earliest',
    format = 'raw_string'
);

create table accepted_hired_employees (value text) with (
    connector = 'fluvio',
    endpoint = 'sc:9003',
    topic = 'company-accepted-hired-employees',
    type = 'sink',
    format = 'raw_string'
);

create table dead_letters (value text) with (
    connector = 'fluvio',
    endpoint = 'sc:9003',
    topic = 'company-dead-letters',
    type = 'sink',
    format = 'raw_string'
);

create view checked_departments as
select accept_departments(value) as accepted, reject_departments(value) as rejected from raw_departments;

insert into accepted_departments select accepted as value from checked_departments where accepted is not null;

insert into dead_letters select rejected as value from checked_departments where rejected is not null;

create view checked_jobs as
select accept_jobs(value) as accepted, reject_jobs(value) as rejected from raw_jobs;

insert into accepted_jobs select accepted as value from checked_jobs where accepted is not null;

insert into dead_letters select rejected as value from checked_jobs where rejected is not null;

create view checked_hired_employees as
select accept_hired_employees(value) as accepted, reject_hired_employees(value) as rejected from raw_hired_employees;

insert into accepted_hired_employees select accepted as value from checked_hired_employees where accepted is not null;

insert into dead_letters select rejected as value from checked_hired_employees where rejected is not null;

insert into staff (id, name, department_id, second_id, manager_id, tiny, whole, big, exact, price, approx, flag, day, moment, wall, code, data, padded, feeling, portion, tags, moments, span, raw, caseless, strict, single, period, "Odd ""Name")
select i, (array['ann', 'bob', 'a_c', null, 'néo'])[i % 5 + 1], nullif(i % 4, 0), nullif(i % 3, 0), null, i % 4, i * 3 % 7 - 2,
    i::bigint * 1000000007, i / 10.0, i * 1.25, i / 3.0, (array[true, false, null])[i % 3 + 1], date '2020-01-01' + i * 40,
    timestamptz '2020-01-01 23:30+00' + i * interval '37 days', timestamp '2020-03-01' + i * interval '20 hours',
    (array['a', 'bc', null, 'q1'])[i % 4 + 1], jsonb_build_object('a', i % 3, 'b', jsonb_build_array(i % 2)), 'p' || i % 3,
    (array['sad', 'ok', 'happy']::mood[])[i % 3 + 1], i % 3 + 0.5, array['x', 'y' || i % 2], array[timestamptz '2020-01-01 00:00+00' + i % 3 * interval '1 hour'],
    (array[interval '1 hour', '1 day', null])[i % 3 + 1], decode('0' || i % 3, 'hex'),
    (array['ab', 'cd'])[i % 2 + 1], (array['z', 'Z', 'a'])[i % 3 + 1], i / 7.0,
    tstzrange(timestamptz '2020-01-01 00:00+00', timestamptz '2020-02-01 00:00+00' + i % 2 * interval '1 day'), (array['o', 'O"x', null])[i % 3 + 1]
from generate_series(1, 24) as i
;;
update staff set manager_id = id / 3 where id >= 3
;;
set timezone = 'Pacific/Auckland'; set datestyle = 'Postgres, DMY'; set intervalstyle = 'sql_standard'; set extra_float_digits = -10; set bytea_output = 'escape'
;;
update staff set moment = moment + interval '5 hours', whole = whole + 1 where id % 2 = 0
;;
insert into staff (id, moment, moments, span, raw, approx, period, day, tags) select 100 + i, timestamptz '2020-06-01 00:00+00' + i * interval '3 hours', array[timestamptz '2020-01-01 00:00+00'], '26 hours', '\x41', 1.0 / 3, tstzrange('2020-01-01 00:00+00', null), '2020-03-02', '{x}' from generate_series(-6, 6) as i
;;
delete from staff where id > 100 and id % 2 = 0
;;
set timezone = 'America/New_York'; set datestyle = 'SQL, MDY'; set intervalstyle = 'iso_8601'; set extra_float_digits = 3; set bytea_output = 'hex'; set standard_conforming_strings = off; set transform_null_equals = on; set search_path = pg_catalog; set escape_string_warning = off
;;
delete from hr.staff where id > 100
;;
update hr.staff set moment = moment - interval '5 hours', name = name || '\\' where id % 2 = 0
;;
set search_path = public, hr; set standard_conforming_strings = on
;;
update staff set name = null, whole = null, tiny = null, flag = null, exact = null where id in (3, 4, 5)
;;
update staff set name = 'back', whole = 5, tiny = 1, flag = true, exact = 31.0 where id in (4, 5)
;;
update staff set exact = 31.00 where id in (4, 5)
;;
update staff set exact = 7.125000 where id in (5, 6)
;;
update staff set exact = 7.125 where id in (5, 6)
;;
delete from staff where id = 5
;;
update staff set exact = 'NaN' where id = 7
;;
update staff set exact = 'Infinity', price = 'NaN' where id in (8, 9)
;;
update staff set exact = '-Infinity' where id = 10
;;
update staff set exact = 12345678901234567890123456789.123456789 where id = 11
;;
update staff set exact = 77, price = 2 where id in (7, 8, 9, 10, 11)
;;
update staff set approx = '-0', single = '-0' where id in (12, 13)
;;
update staff set approx = 0, single = 0 where id in (12, 13)
;;
update staff set approx = 'NaN', single = 'Infinity' where id = 13
;;
delete from staff where id in (12, 13)
;;
update staff set moment = 'infinity', wall = '-infinity', day = 'infinity' where id = 14
;;
update staff set moment = '-infinity', wall = null where id = 14
;;
update staff set data = '{"a": 1.0}' where id = 15
;;
update staff set data = '{"a": 1.00}' where id = 15
;;
update staff set data = null, tags = null, span = '3 days', raw = null where id = 15
;;
update staff set span = '72 hours' where id = 15
;;
update staff set caseless = 'ef' where id = 16
;;
update staff set caseless = 'EF' where id = 16
;;
update staff set caseless = 'CD' where caseless = 'cd'
;;
delete from staff where id = 16
;;
insert into staff (id, name, whole) values (17, 'new', 1), (200, 'newer', 2) on conflict (id) do update set name = excluded.name, whole = excluded.whole + coalesce(staff.whole, 0), zone = 'Asia/Tokyo'
;;
insert into staff (id, name) values (17, 'no'), (201, 'yes') on conflict do nothing
;;
merge into staff using (values (17, 9), (202, 8), (201, 7)) as new (id, whole) on staff.id = new.id when matched and new.whole = 7 then delete when matched then update set whole = new.whole, tiny = 2 when not matched then insert (id, whole, department_id) values (new.id, new.whole, 2)
;;
with gone as (delete from staff where id = 202 returning *), again as (update staff set whole = 4 where id = 200) insert into staff (id, whole, department_id) select 203, whole, department_id from gone
;;
begin; delete from staff; insert into staff (id) values (1); rollback
;;
begin; savepoint a; delete from staff where id < 10; rollback to a; update staff set whole = whole + 1 where id < 4; release a; commit
;;
update staff set id = id + 1000 where id = 18
;;
update departments set department = 'renamed', grade = 9, rate = 1.000 where id = 1
;;
update departments set region_id = null where id = 2
;;
update regions set region = 'one' where id = 1
;;
insert into departments values (7, 'seven', 7, 7, 1); update staff set department_id = 7 where department_id = 1
;;
delete from regions where id = 1
;;
begin; set constraints all deferred; update staff set second_id = 8 where id = 1; insert into departments values (8, 'eight', 8, 8, 2); commit
;;
delete from departments where id in (3, 8)
;;
update staff set name = name, whole = whole
;;
update staff set whole = 1 where false
;;
insert into staff select * from staff where false
;;
delete from staff where id = 1
;;
do $$ begin for i in 1..5 loop insert into staff (id, tiny, whole) values (400 + i, i, i); update staff set tiny = 0 where id = 400 + i; end loop; end $$
;;
begin; set constraints all immediate; insert into staff (id, whole) values (500, 1); truncate staff; insert into staff (id, whole, department_id) values (501, 2, 1); commit
;;
begin; truncate staff; rollback
;;
insert into staff (id, whole, exact) values (502, 3, 0.10)
;;
truncate staff
;;
insert into staff (id, whole, department_id, exact, name, tiny, flag) select i, i, i % 3 + 4, i / 4.0, 'n' || i % 2, i % 3, i % 2 = 0 from generate_series(1, 9) as i
;;
truncate departments cascade
;;

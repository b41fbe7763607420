Every construct of the incremental class: each of these is kept by changes, and exact behind every step.

=== count of rows
select department_id, count(*) from staff group by department_id
=== count of values
select department_id, count(name), count(whole) as wholes from staff group by department_id
=== grand total
select count(*), sum(whole), avg(whole), min(whole), max(whole), count(name) as names from staff
=== grand total over nothing
select count(*), sum(exact), avg(exact), min(name) from staff where whole > 1000000000
=== grand total having
select count(*) as n from staff having count(*) > 4
=== having alone
select 'many' as what from staff having count(*) > 4
=== sums of whole numbers
select flag, sum(tiny) as a, sum(whole) as b, sum(big) as c from staff group by flag
=== means of whole numbers
select flag, avg(tiny) as a, avg(whole) as b, avg(big) as c from staff group by flag
=== sums of numeric
select flag, sum(exact) as a, sum(price) as b, avg(exact) as c, avg(price) as d from staff group by flag
=== sums of a domain
select department_id, sum(portion), avg(portion) as mean from staff group by department_id
=== sums of expressions
select department_id, sum(whole * 2 + tiny) as a, sum(exact / 3) as b, avg(price * tiny) as c, sum(-whole) as d from staff group by 1
=== sums of constants
select flag, sum(1) as a, sum(2.50) as b, avg(2.50) as c, count(1) as d, count(null) as e, max(7) as f, min('x') as g, avg(3) as h from staff group by flag
=== extremes
select department_id, min(whole) as a, max(big) as b, min(day) as c, max(moment) as d, min(name) as e, max(code) as f, min(span) as g, max(feeling) as h from staff group by 1
=== extremes of expressions
select department_id, min(whole + tiny) as a, max(upper(name)) as b, min(abs(big)) as c from staff group by 1
=== extremes filtered
select department_id, min(whole) filter (where flag) as a, max(whole) filter (where not flag and tiny > 1) as b from staff group by 1
=== extremes guarded by a filter
select department_id, max(100 / tiny) filter (where tiny <> 0) as a, count(distinct 100 / tiny) filter (where tiny <> 0) as b from staff group by 1
=== sums guarded by a filter
select department_id, sum(100 / tiny) filter (where tiny <> 0) as a, sum(exact / tiny) filter (where tiny <> 0) as b, avg(100.0 / tiny) filter (where tiny <> 0) as c, count(100 / tiny) filter (where tiny <> 0) as d from staff group by 1
=== guarded by where
select department_id, sum(100 / tiny) as a, max(exact / tiny) as b from staff where tiny <> 0 and 100 / tiny >= 1 group by 1
=== guarded by where the other way round
select department_id, sum(100 / whole) as a from staff where whole <> 0 and 100 / whole >= -1000 group by 1
=== guarded by case
select case when tiny <> 0 then 100 / tiny end as ratio, count(*) from staff group by 1
=== guarded by case of another table
select sum(case when d.grade = 1 then 100 / nullif(e.tiny, 0) else e.tiny end) as a from staff as e join departments as d on d.id = e.department_id
=== filters
select department_id, count(*) filter (where flag) as a, count(name) filter (where whole > 2) as b, sum(big) filter (where flag is not true) as c, avg(exact) filter (where name is not null and tiny > 0) as d from staff group by department_id
=== case in aggregates
select department_id, sum(case when flag then whole else 0 end) as a, count(case when tiny = 1 then 1 end) as b, max(case tiny when 1 then name when 2 then code end) as c, avg(case when flag then exact end) as d from staff group by department_id
=== distinct in aggregates
select department_id, count(distinct tiny) as a, sum(distinct whole) as b, avg(distinct price) as c, min(distinct big) as d, count(distinct name) filter (where flag) as e from staff group by 1
=== all in aggregates
select department_id, count(all tiny) as a, sum(all whole) as b from staff group by 1
=== join
select department, count(*) from staff as e join departments as d on d.id = e.department_id group by department
=== inner join the other way round
select department, count(*) from departments d inner join staff e on e.department_id = d.id group by department
=== comma join
select d.department, sum(e.whole) from staff e, departments d where e.department_id = d.id and d.grade > 0 group by d.department
=== chain of references
select r.region, d.department, count(*), sum(e.price) from staff as e join departments as d on d.id = e.department_id join regions as r on r.id = d.region_id group by r.region, d.department
=== chain of references mixed
select region, count(*) from regions r, staff e join departments d on e.department_id = d.id where r.id = d.region_id and e.flag group by region
=== two references to one table
select a.department as first, b.department as second, count(*) from staff e join departments a on a.id = e.department_id join departments b on b.id = e.second_id group by a.department, b.department
=== two references to one row
select department, count(*) from staff e join departments d on d.id = e.department_id and d.id = e.second_id group by department
=== self reference
select m.name as manager, count(*), sum(e.whole) from staff as e join staff as m on m.id = e.manager_id group by m.name
=== self reference twice
select t.name as top, count(*) from staff e join staff m on m.id = e.manager_id join staff t on t.id = m.manager_id group by t.name
=== more in on
select department, count(*) from staff as e join departments as d on d.id = e.department_id and e.flag and d.grade > 0 and e.tiny > d.grade group by department
=== mixed condition
select department, count(*) from staff as e join departments as d on d.id = e.department_id where e.whole > d.grade or e.name = d.department or not (d.grade = 2 and e.flag) group by department
=== mixed expression grouped
select e.whole + d.grade as level, upper(d.department || coalesce(e.name, '?')) as label, count(*) from staff as e join departments as d on d.id = e.department_id group by 1, 2
=== mixed arguments
select d.department, sum(e.whole * d.grade) as a, sum(e.tiny * d.rate) as b, avg(e.exact * d.rate) as c, min(e.whole - d.grade) as d, count(e.name || d.department) as e, count(distinct e.tiny + d.grade) as f, avg(e.whole + d.grade) as g, sum(e.big + d.grade) as h from staff as e join departments as d on d.id = e.department_id group by d.department
=== mixed filters
select d.department, count(*) filter (where e.flag and d.grade > 0) as a, sum(e.whole) filter (where e.whole > d.grade) as b, avg(e.exact) filter (where d.rate > 2 and e.tiny > 0) as c, max(e.whole) filter (where d.grade > 0 and e.flag) as d, sum(e.whole * d.grade) filter (where e.flag and e.whole > d.grade) as e from staff as e join departments as d on d.id = e.department_id group by d.department
=== aggregates over referenced columns
select e.flag, sum(d.grade) as a, avg(d.rate) as b, max(d.department) as c, count(d.region_id) as d, sum(d.rate) as e, count(distinct d.id) as f from staff as e join departments as d on d.id = e.department_id group by e.flag
=== having
select department_id, count(*) as n from staff group by department_id having count(*) > 1 and sum(whole) > 2
=== having over the join
select d.department, count(*) from staff e join departments d on d.id = e.department_id group by d.department having min(d.grade) > 0 or d.department = 'd1' or max(e.whole) > 3
=== order by
select department_id, count(*) as n from staff group by department_id order by n desc nulls last, department_id nulls first
=== order by what is not selected
select department_id from staff group by department_id order by sum(whole) desc nulls last, max(name) collate "C", department_id
=== order by what a cast is called
select department_id::text, count(*) from staff group by department_id order by department_id
=== words that are times elsewhere
select case name when 'now' then 'today' else 'tomorrow' end as a, count(*) filter (where tags @> '{today}') as b from staff group by 1
=== order by the join
select d.id, count(*) from staff e join departments d on d.id = e.department_id group by d.id order by d.department desc, 2
=== ordinals and aliases
select tiny as level, upper(name) as label, count(*) from staff group by 1, label order by 1, 2
=== an alias that is a column of a table too
select whole as tiny, count(*) from staff group by tiny, whole
=== functions named in group by
select lower(name), count(*) from staff group by lower
=== depends on a referenced key
select d.id, d.department, d.rate * 2 as twice, count(*) from staff e join departments d on d.id = e.department_id group by d.id
=== depends on its own key
select e.id, e.name, e.exact, upper(e.code) || e.name as label, count(*) from staff e group by e.id
=== depends on both keys
select e.id, e.whole + d.grade as level, d.department, e.name from staff e join departments d on d.id = e.department_id group by e.id, d.id
=== groups without aggregates
select tiny, flag from staff group by tiny, flag
=== expressions over aggregates
select department_id, round(avg(exact), 2)::text || ' of ' || count(*)::text as a, coalesce(sum(whole), 0) / greatest(count(whole), 1) as b, case when count(*) > 2 then 'many' else 'few' end as c, -sum(whole) as d, count(*) > 2 and bool 'true' as e, (sum(big) - sum(whole))::numeric / nullif(count(*), 0) as f, abs(min(whole)) + max(whole) as g from staff group by department_id
=== groups and aggregates in one expression
select tiny * count(*) as a, tiny + 1 + sum(whole) as b, count(*) from staff group by tiny
=== expressions made of groups
select tiny + 1 as a, (tiny + 1) * 2 as b, tiny + 1 + tiny as c, whole, count(*) from staff group by tiny + 1, tiny, whole
=== expressions grouped in parentheses
select (tiny + 1) * 2 as a, tiny + 1 as b, count(*) from staff group by (tiny + 1)
=== constants
select 'x' as label, 1 as one, null as nothing, date '2020-01-01' as day, tiny, count(*) from staff group by tiny
=== groups by a constant expression
select 'a' || 'b' as label, count(*) from staff group by 'a' || 'b', tiny
=== where false
select count(*), sum(whole) from staff where false
=== where false grouped
select tiny, count(*) from staff where false group by tiny
=== where true and null
select tiny, count(*) from staff where true and null::boolean is null group by tiny
=== where of all forms
select tiny, count(*) from staff where (whole between -5 and 50 or whole is null) and tiny not in (7, 8) and name is distinct from 'zz' and not (code like 'q%' escape '!') and (flag is not false or flag is unknown) and (tiny = any (array[1, 2, 3, 0]) or tiny <> all ('{4,5}')) group by tiny
=== patterns
select name like 'a\_%' as a, name not ilike '%B%' as b, code similar to '(a|b)%' as c, name ~ '^a' as d, name !~* 'X$' as e, count(*) from staff group by 1, 2, 3, 4, 5
=== text functions
select substring(name from 1 for 2) as a, substring(name, 2) as b, position('n' in name) as c, trim(both 'n' from name) as d, trim(name) as e, overlay(name placing 'zz' from 2 for 1) as f, left(name, 1) as g, trim(leading 'n' from name) as h, substr(name, 1, 2) as i, btrim(name, 'n') as j, count(*) from staff group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
=== times
select extract(year from moment at time zone 'UTC') as a, date_trunc('month', wall) as b, moment at time zone 'America/New_York' as c, extract(dow from day) as d, wall + interval '1 day 2 hours' as e, date_part('quarter', day) as f, day + 3 as g, wall::date as h, extract(epoch from span) as i, count(*) from staff group by 1, 2, 3, 4, 5, 6, 7, 8, 9
=== time zones in front of casts
select moment at time zone 'UTC' as a, moment at time zone 'UTC'::text as b, (moment at time zone 'UTC')::date as c, count(*) from staff group by 1, 2, 3
=== time zones of a column
select moment at time zone zone as a, length(zone) as b, max(moment at time zone zone::text) as c, count(*) from staff group by 1, 2
=== times that are compared
select count(*) filter (where moment >= '2020-06-01 00:00+00') as a, count(*) filter (where day < date '2021-01-01') as b, count(*) filter (where wall >= timestamp '2020-06-01 12:00') as c, count(*) filter (where moment < timestamp with time zone '2021-01-01 00:00:00+02') as d from staff
=== times that are written without a zone
select count(*) filter (where moment >= '2020-06-01') as a, count(*) filter (where day < '02/03/2020') as b, min(moment) filter (where moment > '2020-06-01 10:00') as c from staff
=== intervals
select span, count(*) from staff where span > interval '1' hour or span <= interval '1 hour' or span is null group by span
=== numbers
select -1 * tiny as a, tiny % 3 as b, whole ^ 2 as c, -tiny as d, - (-1) + tiny as e, whole::bigint << 2 as f, abs(-whole) as g, tiny::numeric(5,1) as h, 1e2 * tiny as i, .5 + tiny as j, count(*) from staff group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
=== numbers without parentheses
select whole, tiny, - whole + tiny * 2 - 3 as a, (- tiny) ^ 2 as b, whole - tiny - 1 as c, not flag and whole > 1 or flag as d, count(*) from staff group by whole, tiny, flag
=== comparison and logic without parentheses
select tiny = 1 is true as a, not tiny = 1 as b, (tiny + 1 > 2) = flag as c, whole is null or flag and tiny = 2 as d, not flag is null as e, count(*) from staff group by 1, 2, 3, 4, 5
=== group of numeric
select exact, count(*), sum(whole) from staff group by exact
=== group of floats
select approx, single, count(*) from staff group by approx, single
=== extremes of floats
select tiny, min(approx), max(single), count(distinct approx) as n from staff group by tiny
=== group of intervals
select span, tiny, count(*) from staff group by span, tiny
=== group of json
select data, data ->> 'a' as a, data #>> '{b,0}' as b, data ? 'a' as c, data @> '{"a": 1}' as d, count(*) from staff group by data
=== group of arrays
select tags, moments, array_length(tags, 1) as n, 'x' = any (tags) as has, count(*) from staff group by tags, moments
=== group of ranges
select period, count(*) from staff group by period
=== group of bytes
select raw::text as text, raw, count(*) from staff group by raw
=== group of texts of a session
select approx::text as a, raw::text as b, count(*) from staff group by approx::text, raw::text
=== group of enums and domains
select feeling, portion, feeling > 'sad' as better, count(*), max(feeling) as best from staff group by feeling, portion
=== group of characters
select padded, code, padded || '.' as a, code || '.' as b, length(padded) as c, count(*) from staff group by padded, code
=== group of moments
select moment, wall, day, count(*), max(moment) as last from staff group by moment, wall, day
=== group of caseless text
select caseless, count(*) from staff group by caseless
=== sums by caseless text
select count(distinct caseless) as a, count(*) filter (where caseless = 'AB') as b, max(lower(caseless)) as c from staff
=== group by a collation
select strict, name collate "C" as name, lower(name) collate "POSIX" as lower, count(*) from staff group by strict, name collate "C", lower(name) collate "POSIX" order by name collate "C"
=== compared by a collation
select count(*) filter (where name < 'b' collate "C") as a, count(*) filter (where name collate nocase = 'ANN') as b, max(name collate "C") as c from staff
=== quoted names
select "e"."Odd ""Name" as "A ""b"" C", count("Odd ""Name") as "select" from "hr"."staff" as "e" group by "e"."Odd ""Name"
=== quoted tables
select "E 1"."whole", "D.2".department, COUNT(*) FROM Hr.Staff AS "E 1" JOIN "public".Departments AS "D.2" ON "D.2".ID = "E 1".Department_ID GROUP BY "E 1".WHOLE, "D.2".department
=== aliases that are names of columns
select department.id, whole.department_id as tiny, count(whole.id) from staff as whole join departments as department on department.id = whole.department_id group by department.id, whole.department_id
=== tables without aliases
select departments.department, count(staff.id) from staff join departments on departments.id = staff.department_id group by departments.department
=== strings
select 'it''s' as a, 'a''''b' as b, E'tab\tnew\nline\\ \'q\'' as c, $$dollar 'x' "y"$$ as d, name || 'it''s ''''' as e, name || E'\n' as f, U&'d\0061t' as g, name || '\' as h, name || '"id" :: x' as i, $t$a$$b$t$ || name as j, '\''' || name as k, count(*) from staff group by name
=== strings that look like expressions
select name || 'EXTRACT(YEAR FROM "day")' as a, extract(year from day) as b, extract(year from day) + 1 as c, count(*) from staff group by 1, 2, 3
=== casts
select cast(tiny as text) as a, tiny::numeric(10,2) as b, whole::text::varchar(3) as c, cast(name as varchar(2)) as d, '5'::integer + tiny as e, tiny::float8 as f, tiny::double precision as g, name::"char" as h, cast(whole as character varying) as i, tiny::int4 as j, name::char(2) as k, -1::smallint as l, flag::int as m, count(*) from staff group by tiny, whole, name, flag
=== functions of many kinds
select coalesce(name, code, '?') as a, nullif(tiny, 1) as b, greatest(tiny, whole) as c, least(tiny, 2) as d, ceil(exact) as e, floor(exact) as f, round(exact, 1) as g, md5(name) as h, pg_catalog.lower(name) as j, left(reverse(name), 1) as k, width_bucket(whole, 0, 10, 5) as l, count(*) from staff group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
=== operators of many kinds
select name || '-' || tiny as a, whole & 3 as b, whole | 4 as c, whole # 1 as d, ~ whole as e, @ whole as f, name ^@ 'a' as g, whole operator(pg_catalog.+) 1 as h, tags && array['x'] as i, tags || array['q'] as j, count(*) from staff group by name, tiny, whole, tags
=== booleans
select flag, flag is true as a, flag is not true as b, flag is unknown as c, flag::text as d, flag = true or tiny > 1 as e, bool(flag) as f, count(*) from staff group by flag, tiny
=== where over booleans
select count(*) from staff where flag and (not flag is null)
=== nested functions over aggregates
select department_id, greatest(min(whole), avg(tiny), count(*)) as a, concat(min(name), '-', max(code)) as b, nullif(count(*), 2) as c, to_char(sum(whole), 'FM9990') as d, make_interval(0, 0, 0, count(*)::int) as e, array[count(*), sum(whole)] as f, sum(whole) in (1, 2, 3) as g, sum(whole) between 1 and count(*) as h from staff group by department_id
=== the same aggregate twice
select sum(whole) as a, sum(whole) as b, sum(whole) + sum(whole) as c, sum(whole) filter (where flag) as d from staff
=== comments within
select -- what
    tiny, /* how
    many */ count(*) as "n -- m"
from staff -- where from
where name <> '--' group by tiny -- end

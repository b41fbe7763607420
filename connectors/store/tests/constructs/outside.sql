Every construct outside the incremental class, and what is said of it: each works, and is refreshed.

=== floating sum
-- About floats.

select department_id,
    sum(approx) as a
from staff group by department_id
--> line 4: a sum of floating-point numbers depends on their order: cast them to numeric
=== floating mean
select
    avg(single) as a
from staff
--> line 2: a sum of floating-point numbers depends on their order: cast them to numeric
=== sum of intervals
-- About spans.
select
    sum(span) as a
from staff
--> line 3: 'sum' and 'avg' are kept for whole numbers and numeric, not for interval
=== now
select count(*)
from staff
where
    moment < now()
--> line 4: 'now()' is not immutable
=== current date
select count(*)
from staff
where
    day < current_date
--> line 4: 'current_date' is not immutable
=== day of a moment
select
    moment::date as day,
    count(*)
from staff group by 1
--> line 2: 'moment::DATE' is not immutable
=== extract of a moment
select count(*),
    extract(year from moment) as year
from staff group by 2
--> line 2: 'EXTRACT(YEAR FROM moment)' is not immutable
=== truncated moment
select count(*),
    date_trunc('day', moment) as day
from staff group by 2
--> line 2: 'date_trunc('day', moment)' is not immutable
=== to char
select
    to_char(moment, 'YYYY') as year, count(*)
from staff group by 1
--> line 2: 'to_char(moment, 'YYYY')' is not immutable
=== stable function
select
    steady(whole) as a, count(*)
from staff group by 1
--> line 2: 'steady(whole)' is not immutable
=== volatile function
select sum(1) filter (where
    wild(whole) > 0) as a
from staff
--> line 2: 'wild(whole)' is not immutable
=== random
select count(*) * 0 + min(
    random()) * 0 as a
from staff
--> line 2: 'random()' is not immutable
=== array agg
select tiny,
    array_agg(id order by id)
from staff group by tiny
--> line 2: the aggregate 'array_agg': count, sum, avg, min and max are kept by changes
=== string agg
select tiny,
    string_agg(name, ',' order by id)
from staff group by tiny
--> line 2: the aggregate 'string_agg': count, sum, avg, min and max are kept by changes
=== bool or
select tiny,
    bool_or(flag)
from staff group by tiny
--> line 2: the aggregate 'bool_or': count, sum, avg, min and max are kept by changes
=== deviation
select
    stddev(whole)
from staff
--> line 2: the aggregate 'stddev': count, sum, avg, min and max are kept by changes
=== percentile
select
    percentile_cont(0.5) within group (order by whole)
from staff
--> line 2: the aggregate 'percentile_cont': count, sum, avg, min and max are kept by changes
=== users aggregate
select
    product(tiny)
from staff
--> line 2: the aggregate 'product': count, sum, avg, min and max are kept by changes
=== users aggregate called as ours
select
    hr.sum(tiny)
from staff
--> line 2: the aggregate 'sum': count, sum, avg, min and max are kept by changes
=== count of whole rows
select
    count(staff)
from staff
--> line 2: 'staff' is not a column of a joined table
=== count of all of a row
select
    count(staff.*)
from staff
--> line 2: the aggregate 'count': count, sum, avg, min and max are kept by changes
=== window function
select tiny, count(*),
    rank() over (order by tiny)
from staff group by tiny
--> line 2: the window function 'rank': put it into a view of its own over this one
=== aggregate as a window
select tiny,
    sum(count(*)) over () as all
from staff group by tiny
--> line 2: the window function 'sum': put it into a view of its own over this one
=== named window
select tiny, count(*), rank() over w as r
from staff group by tiny
window w as (order by tiny)
--> line 1: 'window': put it into a view of its own over this one
=== set returning
select
    unnest(tags) as tag, count(*)
from staff group by 1
--> line 2: 'unnest' gives a set of rows
=== function in from
select count(*)
from staff,
    generate_series(1, 2) as g
--> line 3: a function in 'from': only tables of datasets can be joined
=== lateral
select count(*)
from staff cross join
    lateral (select 1) as l
--> line 3: a cross join: only inner joins along declared references
=== subquery in from
-- About it.
select count(*)
from (select * from
    staff) as s
--> line 3: a subquery in 'from': only tables of datasets can be joined
=== tablesample
select count(*) > -1 as a
from
    staff tablesample system (100)
--> line 3: 'tablesample': only tables of datasets can be joined
=== left join
-- A join
-- that is outer.
select count(*)
from staff
left join departments on departments.id = department_id
--> line 5: an outer join: only inner joins along declared references
=== right join
select count(*)
from staff
right join departments on departments.id = department_id
--> line 3: an outer join: only inner joins along declared references
=== full join
select count(*)
from staff
full join departments on departments.id = department_id
--> line 3: an outer join: only inner joins along declared references
=== cross join
select count(*)
from staff
cross join departments
--> line 3: a cross join: only inner joins along declared references
=== natural join
select count(*)
from staff
natural join departments
--> line 3: 'natural join': write the join's condition with 'on'
=== join using
select count(*)
from staff
join departments using (id)
--> line 3: 'staff' and 'departments' are not joined along a declared reference
=== join along nothing
select count(*)
from staff
join departments on departments.grade = staff.tiny
--> line 3: 'staff' and 'departments' are not joined along a declared reference
=== comma along nothing
select count(*)
from staff,
    regions
--> line 3: 'staff' and 'regions' are not joined along a declared reference
=== join by a condition that may hold
select count(*)
from staff
join departments on departments.id = department_id or departments.id = second_id
--> line 3: 'staff' and 'departments' are not joined along a declared reference
=== two facts
select count(*)
from departments as d
join staff as a on a.department_id = d.id
join staff as b on b.second_id = d.id
--> line 4: 'a' and 'b' are not joined along a declared reference
=== circle
select count(*)
from staff as a
join staff as b on b.manager_id = a.id and a.manager_id = b.id
--> line 1: its tables reference each other in a circle
=== joins in parentheses
select count(*)
from (staff join departments on departments.id = department_id)
--> line 2: parentheses or something else than tables in 'from'
=== renamed columns
select count(c)
from staff as s (a, b, c)
--> line 2: an alias that renames columns
=== grouping sets
select tiny, count(*)
from staff
group by grouping sets ((tiny), ())
--> line 3: grouping sets
=== rollup
select tiny, count(*)
from staff
group by rollup (tiny)
--> line 3: grouping sets
=== cube
select tiny, flag, count(*)
from staff
group by cube (tiny, flag)
--> line 3: grouping sets
=== distinct
-- It is
select distinct tiny
from staff
--> line 2: 'distinct': write 'group by' instead
=== distinct on
select distinct on (tiny) tiny, id
from staff order by tiny, id
--> line 1: 'distinct': write 'group by' instead
=== limit
select tiny, count(*)
from staff group by tiny order by tiny
limit 1
--> line 3: 'limit' or 'offset': put it into a view of its own over this one
=== offset
select tiny, count(*)
from staff group by tiny order by tiny
offset 1
--> line 3: 'limit' or 'offset': put it into a view of its own over this one
=== fetch
select tiny, count(*)
from staff group by tiny order by tiny
fetch first 1 row only
--> line 3: 'fetch': put it into a view of its own over this one
=== union
select count(*) from staff
union all
select count(*) from departments
--> line 3: 'union': put it into a view of its own over this one
=== intersect
select tiny from staff
intersect
select grade from departments
--> line 3: 'intersect': put it into a view of its own over this one
=== except
select tiny from staff
except
select grade from departments
--> line 3: 'except': put it into a view of its own over this one
=== with
-- Named parts.
with s as (select * from staff)
select count(*) from s
--> line 2: 'with': put it into a view of its own over this one
=== subquery in select
select count(*),
    (select max(id) from departments)
from staff
--> line 2: a subquery: put it into a view of its own over this one
=== subquery in where
select count(*)
from staff
where
    id in (select id from departments)
--> line 4: a subquery: put it into a view of its own over this one
=== exists
select count(*)
from staff
where
    exists (select from departments where id = staff.id)
--> line 4: a subquery: put it into a view of its own over this one
=== subquery in having
select tiny, count(*)
from staff group by tiny
having count(*) >
    (select 1)
--> line 4: a subquery: put it into a view of its own over this one
=== subquery in order by
select tiny, count(*)
from staff group by tiny
order by
    (select 1)
--> line 4: a subquery: put it into a view of its own over this one
=== subquery in a filter
select count(*) filter (where
    id = any (select id from departments))
from staff
--> line 2: a subquery: put it into a view of its own over this one
=== values
values (1, 2), (3, 4)
--> line 1: 'values': there is no table in it
=== no table
select 1 as one
--> line 1: it reads no table
=== no aggregate
select id, name
from staff
--> line 1: it aggregates nothing: it has neither 'group by' nor an aggregate
=== everything
-- All.
select *
from staff
--> line 2: '*' in what is selected: name the columns
=== a row
select
    (staff).tiny, count(*)
from staff group by 1
--> line 2: an expression of a kind that is not known here: (staff).tiny
=== subscripts
select
    tags[1] as tag, count(*)
from staff group by 1
--> line 2: an expression of a kind that is not known here: tags[1]
=== tuples
select count(*)
from staff
where
    (tiny, whole) = (1, 2)
--> line 4: an expression of a kind that is not known here: (tiny, whole)
=== named arguments
select
    make_interval(days => tiny) as span, count(*)
from staff group by 1
--> line 2: arguments of 'make_interval' by name: give them by their order
=== row by ctid
select
    min(ctid::text) as first
from staff
--> line 2: 'ctid' is not a column of a joined table
=== xmin
select count(*)
from staff
where
    xmin::text <> '0'
--> line 4: 'xmin' is not a column of a joined table
=== a strange table
select count(*)
from
    strange
--> line 3: 'strange' is not the table of a dataset
=== a strange table joined
select count(*)
from staff
join strange on strange.id = staff.id
--> line 3: 'strange' is not the table of a dataset
=== a catalog
select count(*) > 0 as a
from
    pg_catalog.pg_class
--> line 3: 'pg_catalog.pg_class' is not the table of a dataset
=== grouped by a constant
select 1 as one, count(*)
from staff
group by
    1
--> line 4: it is grouped by a constant
=== not comparable
-- Documents have no equality.
select
    count(json_extract_path_text(data::json, department))
from staff join departments on departments.id = department_id
--> line 2: Postgres cannot store it by its groups: Postgres says: could not identify an equality operator for type json
=== unknown to the parser
select count(*)
from staff
where
    trim(leading from name) = 'n1'
--> line 4: Tidegate's parser does not know this: Expected: ), found: name
=== a predicate that is not known
select count(*)
from staff
where
    name is normalized
--> line 4: an expression of a kind that is not known here: name IS NORMALIZED
=== only a table
select count(*)
from
    only staff
--> line 3: 'only' is not the table of a dataset
=== a minus in front of a power
select whole, whole ^ 2 as b, - whole ^ 2 as c, count(*) from staff group by whole, whole ^ 2
--> line 1: Tidegate's parser reads the query otherwise than Postgres: put parentheses around what belongs together
=== two minus signs
select
    - -tiny as a, count(*)
from staff group by 1
--> line 2: two minus signs: put parentheses between them

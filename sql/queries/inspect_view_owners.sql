-- The statements that give the role the rights of the owners of the views $1 and of their stores.
select distinct format('grant %I to %I', pg_get_userbyid(relowner), current_user)
from tidegate.views
join pg_class
    on pg_class.oid in (
        to_regclass(format('%I.%I', views.schema, views.name)), to_regclass(format('tidegate.%I', views.store))
    )
where views.name = any($1) and not pg_has_role(relowner, 'usage')

-- Of what accepted lines did, a backup of an earlier version says nothing: it is uncounted.
update tidegate.ledger
set uncounted_count = accepted_count
where accepted_count > 0 and inserted_count + updated_count + superseded_count + uncounted_count = 0

-- A backup of an earlier version does not have the effects of accepted lines. Counts these lines as uncounted.
update tidegate.ledger
set uncounted_count = accepted_count
where accepted_count > 0 and inserted_count + updated_count + superseded_count + uncounted_count = 0

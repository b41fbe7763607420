-- Writes one locked chunk of the ledger.
update tidegate.ledger
set
    accepted = $3,
    rejected = $4,
    waiting = $5,
    discarded = $6,
    accepted_count = $7,
    rejected_count = $8,
    waiting_count = $9,
    discarded_count = $10
where source = $1 and chunk = $2

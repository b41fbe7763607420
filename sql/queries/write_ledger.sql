-- Writes one locked chunk of the ledger. An accepted line stays accepted. Therefore the effects are added to the
-- counts.
update tidegate.ledger
set
    accepted = $3,
    rejected = $4,
    waiting = $5,
    discarded = $6,
    accepted_count = $7,
    rejected_count = $8,
    waiting_count = $9,
    discarded_count = $10,
    inserted_count = inserted_count + $11,
    updated_count = updated_count + $12,
    superseded_count = superseded_count + $13,
    repeated_count = repeated_count + $14
where source = $1 and chunk = $2

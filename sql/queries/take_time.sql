-- Disables the timeouts of the transaction and its statements. Not every version has each of these settings.
select set_config(name, '0', true)
from pg_settings
where
    name in (
        'statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout'
    )

//! Cases: hook calls with what is expected of them, for `metagate plugin test`.

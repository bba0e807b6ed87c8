"""The embedded stack behind `make demo`: PostgreSQL, Airflow and the chat app on this machine, all on loopback."""

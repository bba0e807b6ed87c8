"""The tuning room: a teacher writes pairs from chunks, a student learns from them, a report says what it learnt."""

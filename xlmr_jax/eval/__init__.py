"""Benchmarks: official scores, the loop over languages, submissions.

metrics/ the scores; task.py a task as a row; evaluate.py the loop;
benchmarks/ XTREME, CLUE and their like as tables; submissions/ what the
leaderboards take; suite/ a whole benchmark in one command.
"""

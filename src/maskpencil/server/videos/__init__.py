"""Segment videos that are sent to the server: as jobs, one after the other, while images go first.

- `folder`: the private folder of all files
- `jobs`: the jobs that wait, run and have ended, and their limits
- `work`: a job from the file that was sent to the results
- `routes`: the requests
"""

"""Segment the videos that clients send, as jobs, one after the other; images go before videos.

- `folder`: the private folder of all files
- `jobs`: the jobs that wait, run and have ended, and their limits
- `work`: the segmentation of the video of one job
- `routes`: the answers to requests for videos
"""

"""Many photographs: jobs, worker processes around one model, a journal for resuming; here or through Ray Data.

>>> from u2net_zoo.apps import APPLICATIONS
>>> from u2net_zoo.apps.batch.jobs import jobs_of
>>> photograph.save(folder / "cat.png")
>>> [job.name for job in jobs_of([str(folder)], str(folder / "masks"), APPLICATIONS["mask"]())]
['cat.png']
"""

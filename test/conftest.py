"""Every test process has a DDS domain to itself: two runs on one machine, or a robot nearby, do not hear each other."""

import os
import random

os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randint(1, 101))
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

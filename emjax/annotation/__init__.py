"""What to label next, which labels to doubt, and what more labels would bring: functions of arrays alone."""

import asyncio
import concurrent.futures
import decimal
import email.message
import xml.dom.minidom

import numpy.testing

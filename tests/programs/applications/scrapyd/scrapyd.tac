from scrapyd import get_application

application = get_application()

// The pages work without this. It only makes menus fold, makes leaving quicker and puts the reader at the list of mistakes.
import './leave.js'
import { initAll } from './nhsuk/nhsuk-frontend-10.6.1.min.js'

initAll()
